"""Least-confidence sampling.

A Sequential Algorithm for Training Text Classifiers, Lewis and Gale, 1994, arXiv:cmp-lg/9407020.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.rows import highest
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def least_confidence_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """What the most probable class leaves to the others: `(m, c)` -> `(m,)` in 0 .. 1 - 1/c."""
    return 1 - highest(probabilities)


@register("query", "least_confidence")
class LeastConfidence:
    """The samples whose most probable class is the least probable.

    With many classes and few labels it is worse than random sampling (letter, 26 classes: area
    0.644 against 0.725): take `margin` there.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; the score that has a power is 1 - max p.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, 1994, "
        "arXiv:cmp-lg/9407020",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n least confident predictions; the scores are 1 - max p."""
        return self.batch.select(context, n, least_confidence_scores, View.PROBABILITIES)
