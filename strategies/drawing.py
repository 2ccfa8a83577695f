"""Positions that are drawn uniformly, and entries of queues that are taken in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

SPARSE = 8
"""Below one in so many, positions are drawn one by one instead of shuffling the whole pool."""


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


def at_most(size: int, most: int, generator: torch.Generator) -> torch.Tensor:
    """Positions in 0 .. size - 1, ascending: all, or `most` that are drawn where that is fewer.

    Where all are taken, nothing is drawn.
    """
    if most >= size:
        return torch.arange(size)
    return distinct_positions(size, most, generator).sort().values


def in_turn(queues: Sequence[Sequence[int]], n: int) -> list[int]:
    """n of the queues' entries: all first ones, then all second ones, and so on.

    Args:
        queues: with at least n entries together.
        n: how many.
    """
    picks: list[int] = []
    depth = 0
    while len(picks) < n:
        picks += [queue[depth] for queue in queues if depth < len(queue)][: n - len(picks)]
        depth += 1
    return picks
