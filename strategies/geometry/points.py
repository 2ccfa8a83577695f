"""Points of a Euclidean space: rows of a matrix, or outer products that are never built."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from querist.strategies.geometry.centers import ROWS, Centers, multiplies_bfloat16_fast


@dataclass(frozen=True)
class Points:
    """n points: the outer products of rows of `left` with rows of `right`, or these rows.

    Products are cheap: <l r, l' r'> = <l, l'> <r, r'>, so that a gradient of the last layer costs
    what its error and its embedding cost.

    Attributes:
        right: `(n, d)`; may lie in a mapped file.
        left: `(n, c)`, or None.
    """

    right: torch.Tensor
    left: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.right)

    @property
    def kind(self) -> torch.dtype:
        """In which distances are taken: float64 where the rows are, float32 where not."""
        return torch.float64 if self.right.dtype is torch.float64 else torch.float32

    @property
    def width(self) -> int:
        """Multiplications in a product."""
        return self.right.shape[1] + (0 if self.left is None else self.left.shape[1])

    def take(self, positions: torch.Tensor | slice) -> Points:
        """Some of them, in the type of distances."""
        left = None if self.left is None else self.left[positions].to(self.kind)
        return Points(self.right[positions].to(self.kind), left)

    def less(self, origin: torch.Tensor) -> Points:
        """Those of rows without `left`, seen from `origin` `(d,)`."""
        return Points(self.right.to(self.kind) - origin)

    def join(self, other: Points) -> Points:
        """Others after these."""
        left = None
        if self.left is not None and other.left is not None:
            left = torch.cat([self.left, other.left])
        return Points(torch.cat([self.right, other.right]), left)

    def squares(self) -> torch.Tensor:
        """Squared lengths `(n,)`."""
        found = self.right.square().sum(1)
        return found if self.left is None else found * self.left.square().sum(1)

    def products(self, other: Points) -> torch.Tensor:
        """Inner products with others `(n, m)`."""
        found = self.right @ other.right.T
        if self.left is not None and other.left is not None:
            found *= self.left @ other.left.T
        return found

    def squared_distances(self, other: Points) -> torch.Tensor:
        """To others `(n, m)`."""
        found = torch.add(self.squares()[:, None], other.squares())
        return found.sub_(self.products(other), alpha=2).clamp_min_(0)
