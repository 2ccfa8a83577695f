"""The captured steps of a learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

MOST_BASES = 1000
"""What a learner remembers of; settings that change in every epoch would fill its memory."""


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
        self._numbered = 0

    def basis(self, about: Any) -> int:
        """A number for what captures rest on: the same for equal things."""
        if len(self._bases) >= MOST_BASES and about not in self._bases:
            for memory in (self._bases, self.graphs, self.seen, self.refused):
                memory.clear()
        if about not in self._bases:
            self._numbered += 1
            self._bases[about] = self._numbered
        return self._bases[about]
