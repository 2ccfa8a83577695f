"""Exact nearest neighbours by matrix products, a block of distances at a time."""

from __future__ import annotations

import torch

from querist.strategies.geometry.points import squared_distances

QUERIES = 512
OTHERS = 16_384
"""A block has at most so many rows and columns: 32 MB."""


def k_nearest(
    x: torch.Tensor, queries: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k rows of x that are nearest to each query, the nearest first.

    Costs `m n d`; only k of a query's distances are kept at a time.

    Args:
        x: where they are looked for `(n, d)`, float32 (`Points` says why they are moved first).
        queries: `(m, d)`.
        k: how many; all of them where x has fewer.

    Returns:
        Squared distances `(m, k)` and positions in x `(m, k)`.
    """
    found = [_of_block(x, block, min(k, len(x))) for block in queries.split(QUERIES)]
    if not found:
        empty = x.new_zeros(0, min(k, len(x)))
        return empty, empty.long()
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def _of_block(x: torch.Tensor, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    best = x.new_zeros(len(queries), 0)
    at = best.long()
    for begin in range(0, len(x), OTHERS):
        squared = squared_distances(queries, x[begin : begin + OTHERS])
        near = squared.topk(min(k, squared.shape[1]), largest=False)
        best = torch.cat([best, near.values], dim=1)
        at = torch.cat([at, near.indices + begin], dim=1)
        if begin:
            kept = best.topk(min(k, best.shape[1]), largest=False)
            best, at = kept.values, at.gather(1, kept.indices)
    return best, at
