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
from querist.strategies.query.scoring import select_by_probability
from querist.values import Selection
from querist.views import View


def entropy_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy in nats, with 0 log 0 = 0: `(m, c)` -> `(m,)` in 0 .. log c."""
    return entropies(probabilities)


@register("query", "entropy")
class Entropy:
    """The samples whose predicted class has the highest entropy."""

    about = About(
        paper="Shannon, A Mathematical Theory of Communication, 1948, "
        "doi:10.1002/j.1538-7305.1948.tb01338.x",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest entropies, the highest first; the scores are in nats."""
        return select_by_probability(context, n, entropy_scores)
