"""Batches are tensors in tuples, lists and dictionaries, in each other as deep as one likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def leaves(value: Any) -> list[Any]:
    """What is inside, in order: tensors, and whatever is none."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors inside, in order."""
    return [leaf for leaf in leaves(value) if isinstance(leaf, torch.Tensor)]


def with_tensors(value: Any, make: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with what `make` gives in the place of each tensor, in order."""
    if isinstance(value, torch.Tensor):
        return make(value)
    if isinstance(value, dict):
        return {key: with_tensors(part, make) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [with_tensors(part, make) for part in value]
        # A named tuple takes its fields one by one.
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
