"""Entropy sampling.

A Mathematical Theory of Communication, Shannon, 1948, doi:10.1002/j.1538-7305.1948.tb01338.x;
as a query strategy: Active Learning Literature Survey, Settles, 2009, section 3.1.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.rows import entropies
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def entropy_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy in nats, with 0 log 0 = 0: `(m, c)` -> `(m,)` in 0 .. log c."""
    return entropies(probabilities)


@register("query", "entropy")
class Entropy:
    """The samples whose predicted class has the highest entropy.

    With many classes and few labels it is worse than random sampling (letter, 26 classes: area
    0.585 against 0.725): take `margin` there.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; the score that has a power is the entropy.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Shannon, A Mathematical Theory of Communication, 1948, "
        "doi:10.1002/j.1538-7305.1948.tb01338.x",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest entropies, the highest first; the scores are in nats."""
        return self.batch.select(context, n, entropy_scores, View.PROBABILITIES)
