"""The captured steps of a learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """A captured step."""

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """One step on these inputs; returns its loss."""
        ...


class Captures:
    """The captured steps of a learner, which outlive a training: shapes come back."""

    def __init__(self) -> None:
        self.graphs: dict[Any, Graph] = {}
        self.seen: dict[Any, int] = {}
        self.refused: dict[int, str] = {}
        self.told: set[str] = set()
        self._bases: dict[Any, int] = {}

    def basis(self, about: Any) -> int:
        """A number for what captures rest on: the same for equal things."""
        return self._bases.setdefault(about, len(self._bases))
