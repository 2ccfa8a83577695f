"""Weighted draws from many, whose weights change a few at a time."""

from __future__ import annotations

import torch

BLOCK = 256
"""Weights whose sum is kept: a draw looks through the sums, and then through one block."""


class Weights:
    """Draws positions in proportion to their weights.

    Args:
        values: 0 or more `(n,)`.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.size = len(values)
        blocks = -(-self.size // BLOCK)
        self._values = values.new_zeros(blocks * BLOCK)
        self._values[: self.size] = values
        self._blocks = self._values.view(blocks, BLOCK)
        self._sums = self._blocks.sum(1, dtype=torch.float64)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._sums.sum())

    def propose(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions drawn with replacement `(size,)`, and their weights."""
        ends = self._sums.cumsum(0)
        drawn = torch.rand(size, generator=generator, dtype=torch.float64) * ends[-1]
        # The first end above what was drawn: what weighs nothing is never drawn.
        block = torch.searchsorted(ends, drawn, right=True).clamp_max_(len(ends) - 1)
        inside = self._blocks[block].cumsum(1, dtype=torch.float64)
        # Drawn anew, rather than what is left of the first draw, which has fewer digits.
        drawn = torch.rand(size, generator=generator, dtype=torch.float64) * inside[:, -1]
        at = torch.searchsorted(inside, drawn[:, None], right=True)[:, 0].clamp_max_(BLOCK - 1)
        positions = block * BLOCK + at
        return positions, self._values[positions]

    def put(self, positions: torch.Tensor, values: torch.Tensor) -> None:
        """New weights `(m,)` at some positions `(m,)`."""
        self._values[positions] = values.to(self._values.dtype)
        blocks = positions // BLOCK
        self._sums[blocks] = self._blocks[blocks].sum(1, dtype=torch.float64)

    def lower(self, values: torch.Tensor) -> None:
        """The lower of the weights and `values` `(n,)`, everywhere."""
        mine = self._values[: self.size]
        torch.minimum(mine, values, out=mine)
        self._sums = self._blocks.sum(1, dtype=torch.float64)
