"""The labeled set that a learner is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from querist.protocols import Pool


@dataclass(frozen=True)
class LabeledSet:
    """Labeled samples in a fixed order: the initial ones, then by iteration and position.

    Works as a torch data set too (`len`, `[i] -> (features, target)`), for loops that use a
    DataLoader.

    Attributes:
        pool: where the features are.
        indices: `(n,)` int64.
        targets: `(n,)` int64 classes, or `(n,)` or `(n, d)` floats.
    """

    pool: Pool
    indices: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pool.features(self.indices[position : position + 1])[0], self.targets[position]

    def features(self) -> torch.Tensor:
        """All features at once `(n, ...)`."""
        return self.pool.features(self.indices)

    def joined(self, other: LabeledSet) -> LabeledSet:
        """This set followed by `other` (of the same pool)."""
        return LabeledSet(
            self.pool,
            torch.cat([self.indices, other.indices]),
            torch.cat([self.targets, other.targets]),
        )
