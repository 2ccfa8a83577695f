"""The processes that train one model together, as a training loop sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch

from querist.protocols import TrainStep

T = TypeVar("T")


class Group(Protocol):
    """One of several processes. All of them make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Which one this is, from 0; 0 decides and writes."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def wrap(self, module: torch.nn.Module, step: TrainStep) -> TrainStep:
        """The step, such that backward leaves the same gradients everywhere: their mean."""
        ...

    def unsynchronized(self) -> AbstractContextManager[None]:
        """Inside, gradients are gathered here only: for all but the last batch of a step."""
        ...

    def mean(self, value: float, weight: float) -> float:
        """The mean of everybody's values by their weights; NaN where the weights add up to 0."""
        ...

    def agree(self, value: T) -> T:
        """What rank 0 has."""
        ...


class Alone:
    """The group of one process."""

    rank = 0
    size = 1

    def wrap(self, module: torch.nn.Module, step: TrainStep) -> TrainStep:
        """The step itself."""
        return step

    def unsynchronized(self) -> AbstractContextManager[None]:
        """Nothing to leave out."""
        return nullcontext()

    def mean(self, value: float, weight: float) -> float:
        """The value itself."""
        return value if weight else float("nan")

    def agree(self, value: T) -> T:
        """The value itself."""
        return value
