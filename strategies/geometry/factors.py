"""Points of a Euclidean space as rows of a matrix, or as outer products that are never built."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Factors:
    """n points: the outer products of rows of `left` with rows of `right`, or rows of `right`.

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

    def take(self, positions: torch.Tensor | slice) -> Factors:
        """Some of them, in the type of distances."""
        left = None if self.left is None else self.left[positions].to(self.kind)
        return Factors(self.right[positions].to(self.kind), left)

    def join(self, other: Factors) -> Factors:
        """Others after these."""
        left = None
        if self.left is not None and other.left is not None:
            left = torch.cat([self.left, other.left])
        return Factors(torch.cat([self.right, other.right]), left)

    def squares(self) -> torch.Tensor:
        """Squared lengths `(n,)`."""
        found = self.right.square().sum(1)
        return found if self.left is None else found * self.left.square().sum(1)

    def products(self, other: Factors) -> torch.Tensor:
        """Inner products with others `(n, m)`."""
        found = self.right @ other.right.T
        if self.left is not None and other.left is not None:
            found *= self.left @ other.left.T
        return found

    def squared_distances(self, other: Factors) -> torch.Tensor:
        """To others `(n, m)`."""
        found = torch.add(self.squares()[:, None], other.squares())
        return found.sub_(self.products(other), alpha=2).clamp_min_(0)
