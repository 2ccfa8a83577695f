"""Random sampling: the yardstick that every other query strategy has to beat."""

from __future__ import annotations

import numpy as np
import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.scoring import check_count
from querist.values import Selection

SPARSE = 8
"""Below one in so many, positions are drawn one by one instead of shuffling the whole pool."""


@register("query", "random")
class Random:
    """Samples drawn uniformly, each at most once, without asking the learner."""

    about = About(paper="", needs=(), cost="k")

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Draw n of the unlabeled samples, in random order, each with the score 0."""
        check_count(n)
        size = len(context.unlabeled)
        n = min(n, size)
        drawn = context.unlabeled[distinct_positions(size, n, context.generator)]
        return Selection(tuple(drawn.tolist()), (0.0,) * n)


def distinct_positions(size: int, n: int, generator: torch.Generator) -> torch.Tensor:
    """Different positions in 0 .. size - 1, drawn uniformly, in random order `(n,)`.

    Costs time and memory of n, not of the pool's size, where n is a small part of it.
    """
    if n * SPARSE >= size:
        return torch.randperm(size, generator=generator)[:n]
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < n:
        more = torch.randint(size, (n - len(drawn),), generator=generator).numpy()
        drawn = np.concatenate([drawn, more])
        _, first_seen = np.unique(drawn, return_index=True)
        drawn = drawn[np.sort(first_seen)]
    return torch.from_numpy(drawn)
