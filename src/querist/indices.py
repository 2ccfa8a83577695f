"""Sets of sample indices in ascending order: where some stand, and what is left without them.

By binary search: the cost is that of the few, and no copy of the many is sorted.
"""

from __future__ import annotations

import torch


def positions(ascending: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Where each of `wanted` `(m,)` stands in `ascending` `(n,)`: `(m,)`, -1 for what is not there.

    Args:
        ascending: different indices, ascending.
        wanted: indices in any order.
    """
    if not len(ascending):
        return torch.full_like(wanted, -1)
    found = torch.searchsorted(ascending, wanted.contiguous()).clamp_max(len(ascending) - 1)
    return torch.where(ascending[found] == wanted, found, -1)


def without(ascending: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """The indices of `ascending` `(n,)` that are not among `removed` `(m,)`, ascending."""
    found = positions(ascending, removed)
    if not bool((found >= 0).any()):
        return ascending
    left = torch.ones(len(ascending), dtype=torch.bool)
    left[found[found >= 0]] = False
    return ascending[left]
