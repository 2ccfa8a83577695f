"""Variation ratios: the share of models that do not predict the most predicted class.

Elementary Applied Statistics, Freeman, 1965, Wiley; for active learning: Deep Bayesian Active
Learning with Image Data, Gal, Islam and Ghahramani, 2017, arXiv:1703.02910.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def variation_ratio_scores(samples: torch.Tensor) -> torch.Tensor:
    """Share of models outside the largest group: `(t, m, c)` -> `(m,)` in 0 .. 1 - 1 / min(t, c).

    A model predicts its most probable class; of equal ones the first.
    """
    counts = torch.zeros_like(samples[0], dtype=torch.float64)
    one = torch.ones_like(counts[:, :1])
    for probabilities in samples:
        counts.scatter_add_(1, probabilities.argmax(1, keepdim=True), one)
    return (len(samples) - counts.amax(1)) / len(samples)


@register("query", "variation_ratios")
class VariationRatios:
    """The samples on whose class the fewest models agree.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`. A score is one of t values at most, so that
            many are equal, and `top` takes the lower index of them: a draw spreads them.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Freeman, Elementary Applied Statistics, 1965, Wiley",
        needs=(View.PROBABILITY_SAMPLES,),
        cost="t n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest ratios, the highest first."""
        return self.batch.select(context, n, variation_ratio_scores, View.PROBABILITY_SAMPLES)
