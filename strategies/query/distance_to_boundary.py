"""Sampling next to the decision boundary.

With two classes the boundary is where p = 0.5. With more there is one between each two classes; the
nearest is the one between the two most probable, so the probability of the first among these two is
held against 0.5 (`max p` alone would not do: with ten classes 0.5 is a fairly sure prediction).
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.scoring import top_two
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def boundary_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Minus the distance to the nearest boundary: `(m, c)` -> `(m,)` in -0.5 .. 0.

    Two classes: -|p - 0.5|. More: -(p1 / (p1 + p2) - 0.5), p1 and p2 the two highest.
    """
    if probabilities.shape[1] == 2:
        return -(probabilities[:, 1] - 0.5).abs()
    first, second = top_two(probabilities)
    return 0.5 - first / (first + second)


@register("query", "distance_to_boundary")
class DistanceToBoundary:
    """The samples whose predicted probability is nearest to 0.5, the decision boundary.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; the score that has a power is 0.5 less the
            distance.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(paper="", needs=(View.PROBABILITIES,), cost="n c")

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n nearest to a boundary, the nearest first; the scores are minus the distances."""
        return self.batch.select(context, n, boundary_scores, View.PROBABILITIES, offset=0.5)
