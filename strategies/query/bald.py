"""BALD: what the samples of a prediction disagree about.

Bayesian Active Learning for Classification and Preference Learning, Houlsby, Huszar, Ghahramani and
Lengyel, 2011, arXiv:1112.5745; from MC dropout: Deep Bayesian Active Learning with Image Data, Gal,
Islam and Ghahramani, 2017, arXiv:1703.02910.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.rows import entropies, row_sums
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def bald_scores(samples: torch.Tensor) -> torch.Tensor:
    """Mutual information of class and model in nats: `(t, m, c)` -> `(m,)` in 0 .. log min(t, c).

    The entropy of the mean prediction less the mean entropy of the t predictions.
    """
    total, sure = _sums(samples, spotless=True)
    within = row_sums(sure)
    if within.sum().isnan():
        total, sure = _sums(samples, spotless=False)
        within = row_sums(sure)
    scores = entropies(total.div_(len(samples))).add_(within, alpha=1 / len(samples))
    return scores.clamp_min_(0)


def _sums(samples: torch.Tensor, *, spotless: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Over the t predictions, one after the other: the sums of p and of p log p, `(m, c)` each."""
    total, products = torch.zeros_like(samples[0]), torch.zeros_like(samples[0])
    logs = torch.empty_like(samples[0])
    for probabilities in samples:
        torch.log(probabilities, out=logs).mul_(probabilities)
        # 0 log 0 is 0 here and NaN in floats; looking for it in every pass costs a third.
        products += logs if spotless else logs.nan_to_num_(nan=0.0)
        total += probabilities
    return total, products


@register("query", "bald")
class Bald:
    """The samples about which the learner's models are sure, each for itself, and disagree.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; `power` is PowerBALD, which costs no more.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Houlsby, Huszar, Ghahramani and Lengyel, Bayesian Active Learning for "
        "Classification and Preference Learning, 2011, arXiv:1112.5745",
        needs=(View.PROBABILITY_SAMPLES,),
        cost="n t c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n for which the label says most about the model; the scores are in nats."""
        return self.batch.select(context, n, bald_scores, View.PROBABILITY_SAMPLES)
