"""Sums and highest values of each row of a narrow matrix, at about the speed of memory.

torch reduces rows of a few numbers one number at a time. Products with matrices of ones and zeros
do it many at a time: with the identity they turn a matrix around, with columns of ones they add.
Turning around is exact, since only one value meets nothing but zeros. Adding takes a row's values
one after the other, wherever the row stands.
"""

from __future__ import annotations

from functools import cache

import torch

NARROW = 32
"""Up to so many columns; torch's own reductions are fast over longer rows."""

GROUP = 8
"""Rows that one row of a product adds up."""


def by_column(rows: torch.Tensor) -> torch.Tensor:
    """The finite numbers `(m, c)` turned around, to the bit: contiguous `(c, m)`."""
    columns = rows.shape[1]
    if columns > NARROW or not _products_are_exact(rows):
        return rows.T.contiguous()
    return torch.eye(columns, dtype=rows.dtype) @ rows.T


def row_sums(rows: torch.Tensor) -> torch.Tensor:
    """The sum of each row of the finite numbers `(m, c)`: `(m,)`."""
    size, columns = rows.shape
    grouped = size - size % GROUP
    if columns > NARROW or grouped <= GROUP or not _products_are_exact(rows):
        return _sums_in_order(rows)
    groups = rows[:grouped].reshape(-1, GROUP * columns)
    sums = (groups @ _adding(columns, rows.dtype)).view(-1)
    return sums if grouped == size else torch.cat([sums, _sums_in_order(rows[grouped:])])


def entropies(rows: torch.Tensor) -> torch.Tensor:
    """- sum p log p of each row of `(m, c)`, with 0 log 0 = 0: `(m,)`; `entr` takes five times."""
    products = rows.log().mul_(rows)
    sums = row_sums(products)
    if sums.sum().isnan():
        # 0 times minus infinity. What NaN was added to in the product may be good rows.
        sums = row_sums(products.nan_to_num_(nan=0.0))
    return sums.neg_()


def highest(rows: torch.Tensor) -> torch.Tensor:
    """The highest of each row of finite `(m, c)`: `(m,)`."""
    return by_column(rows).amax(0) if rows.shape[1] <= NARROW else rows.amax(1)


def two_highest(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest and the second highest of each row of finite `(m, c)`, c > 1: twice `(m,)`."""
    if rows.shape[1] > NARROW:
        first, at = rows.max(1)
        return first, rows.scatter(1, at[:, None], -torch.inf).amax(1)
    columns = by_column(rows)
    first = torch.maximum(columns[0], columns[1])
    second = torch.minimum(columns[0], columns[1])
    lower = torch.empty_like(first)
    for column in columns[2:]:
        torch.minimum(first, column, out=lower)
        torch.maximum(second, lower, out=second)
        torch.maximum(first, column, out=first)
    return first, second


@cache
def _adding(columns: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.kron(torch.eye(GROUP, dtype=dtype), torch.ones(columns, 1, dtype=dtype))


def _sums_in_order(rows: torch.Tensor) -> torch.Tensor:
    """Column after column: a reduction's order would depend on where in the block a row stands."""
    if rows.shape[1] > NARROW:
        return rows.sum(1)
    total = rows[:, 0].clone()
    for column in rows.unbind(1)[1:]:
        total += column
    return total


def _products_are_exact(rows: torch.Tensor) -> bool:
    """Whether products on this device keep all digits: bfloat16 and TF32 inside drop most."""
    whole = torch.get_float32_matmul_precision() == "highest"
    return rows.device.type == "cpu" and (whole or rows.dtype == torch.float64)
