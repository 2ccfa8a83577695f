"""A request for labels, as a label strategy receives it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from querist.protocols import Pool


@dataclass(frozen=True)
class LabelRequest:
    """The samples of one iteration that still lack a label.

    Attributes:
        iteration: the iteration that asks.
        indices: the samples `(k,)`, in the order of the selection.
        keys: one stable key per sample; the same sample always has the same key.
        pool: for the samples' features (and the truth, where the pool knows it).
    """

    iteration: int
    indices: torch.Tensor
    keys: tuple[str, ...]
    pool: Pool

    def features(self) -> torch.Tensor:
        """The features of all samples asked for `(k, ...)`."""
        return self.pool.features(self.indices)
