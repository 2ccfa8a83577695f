"""Different positions, drawn uniformly."""

from __future__ import annotations

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
