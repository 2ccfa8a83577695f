"""Squared distances to the nearest of many centres: exact in float32, or bounded from above.

The bound takes a matrix product in bfloat16 where the processor multiplies it fast, which is five
times as fast as float32, and adds what rounding can have hidden, so that it is one for sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

ROWS = 2048
"""Rows at a time: their products with a thousand centres stay in a core's cache."""

COLUMNS = 1024
WORTH_IT = 2**22
HALF_ULP = 2.0**-9
"""How far rounding to bfloat16 moves a number, relative to it."""


def coarse_type(device: torch.device, rows: int, centers: int) -> torch.dtype:
    """The type of products that bound so many distances soonest: bfloat16, or float32.

    Few products are not worth what bfloat16 takes to start; processors that do not multiply it
    emulate it, which is far slower than float32.
    """
    if rows * max(centers, 1) < WORTH_IT:
        fast = False
    elif device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Private: the public names are not in the oldest torch that is supported.
        names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        fast = device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)
    return torch.bfloat16 if fast else torch.float32


@dataclass(frozen=True)
class Centers:
    """Points that distances are measured to.

    Attributes:
        points: `(m, d)`, less the origin.
        squares: their squared lengths `(m,)`.
        coarse: the points in the type of fast products `(m, d)`.
        offsets: half of how much shorter than the mean each one's square is, rounded down `(m,)`.
        mean_square: the mean of `squares`.
        slack: by how much a product with a row of length 1 may be off.
        rounding: by how much a sum in float32 may be off, relative to the squares in it.
        longest: the length of the longest.
    """

    points: torch.Tensor
    squares: torch.Tensor
    coarse: torch.Tensor
    offsets: torch.Tensor
    mean_square: float
    slack: float
    rounding: float
    longest: float

    @classmethod
    def of(cls, points: torch.Tensor, *, coarse: torch.dtype) -> Centers:
        """Centres at float32 `points` `(m, d)`."""
        squares = points.square().sum(1)
        mean = float(squares.mean())
        rounded, offsets = points.to(coarse), ((mean - squares) / 2).to(coarse)
        longest = float(squares.max()) ** 0.5
        moved = float((points - rounded.float()).square().sum(1).max()) ** 0.5
        rounding = (points.shape[1] + 8) * 2.0**-23
        slack = rounding * longest
        if coarse is torch.bfloat16:
            slack += HALF_ULP * longest + (1 + HALF_ULP) * moved
            # Whatever the rounding did, one step down is below.
            offsets = offsets - 2 * HALF_ULP * offsets.abs() - torch.finfo(coarse).tiny
        return cls(points, squares, rounded, offsets, mean, slack, rounding, longest)

    def bounds(self, rows: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """At least the squared distance of each row to its nearest centre: `(r, d)` -> `(r,)`.

        Args:
            rows: less the same origin.
            squares: their squared lengths `(r,)`.
        """
        rounded = rows.to(self.coarse.dtype)
        found = [
            _highest(functional.linear(rounded, points, offsets))
            for points, offsets in zip(
                self.coarse.split(COLUMNS), self.offsets.split(COLUMNS), strict=True
            )
        ]
        near = found[0] if len(found) == 1 else torch.stack(found).amax(0)
        slack = squares.sqrt() * (2 * self.slack) + self.rounding * (squares + self.longest**2)
        if self.coarse.dtype is torch.bfloat16:
            slack += near.abs() * (4 * HALF_ULP)
        return (squares - 2 * near + self.mean_square + slack).clamp_min_(0)

    def distances(self, rows: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """The squared distance of each row to its nearest centre in float32: `(r, d)` -> `(r,)`."""
        parts = [
            torch.addmm(self.squares, part, self.points.T, alpha=-2).amin(1)
            for part in rows.split(ROWS // 2)
        ]
        return (torch.cat(parts) + squares).clamp_min_(0)


def _highest(products: torch.Tensor) -> torch.Tensor:
    """A high value of each row as float32 `(r,)`: the highest, where it is not below 0."""
    if products.dtype is not torch.bfloat16:
        return products.amax(1)
    # Bits of floats from 0 on have the order of whole numbers, which are compared five times as
    # fast. Of numbers below 0 the lowest comes out, which is a bound as well.
    return products.view(torch.int16).amax(1).view(torch.bfloat16).float()
