"""Predictive variance, for regression.

Neural Network Exploration Using Optimal Experiment Design, Cohn, 1996,
doi:10.1016/0893-6080(95)00137-9.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def predictive_variance_scores(variances: torch.Tensor) -> torch.Tensor:
    """Variances of the numbers of each sample, added: `(m, c)` -> `(m,)`."""
    total = variances[:, 0]
    for column in variances.unbind(1)[1:]:
        total = total + column
    return total


@register("query", "predictive_variance")
class PredictiveVariance:
    """The samples whose numbers the learner is least sure of.

    It needs a learner that knows variances (`laplace`), or one of several models (`ensemble`,
    `mc_dropout`), whose numbers then vary.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Cohn, Neural Network Exploration Using Optimal Experiment Design, 1996, "
        "doi:10.1016/0893-6080(95)00137-9",
        needs=(View.VARIANCES,),
        cost="n c t",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest variances; the scores are in the target's unit squared."""
        return self.batch.select(context, n, predictive_variance_scores, View.VARIANCES)
