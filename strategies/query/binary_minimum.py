"""Binary minimum: the sample with the least certain label.

On Active Learning in Multi-label Classification, Brinker, 2006, doi:10.1007/3-540-31314-1_24: of
the labels' distances to their decision boundaries the smallest one counts.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def binary_minimum_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Minus the distance of the label nearest to one half: `(m, c)` -> `(m,)` in -1/2 .. 0."""
    return -(probabilities - 0.5).abs().amin(1)


@register("query", "binary_minimum")
class BinaryMinimum:
    """Multi-label: the samples that have the label about which the learner is least certain.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; the score that has a power is
            1/2 - distance.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Brinker, On Active Learning in Multi-label Classification, 2006, "
        "doi:10.1007/3-540-31314-1_24",
        needs=(View.LABEL_PROBABILITIES,),
        cost="n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n smallest distances of a label to one half, the smallest first."""
        likely = View.LABEL_PROBABILITIES
        return self.batch.select(context, n, binary_minimum_scores, likely, offset=0.5)
