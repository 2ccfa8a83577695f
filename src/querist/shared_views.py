"""What a learner has said of an iteration's candidates, kept for all strategies that ask.

It is computed once for a model state: strategies of one iteration, and those inside a combinator,
look into the same store. What is larger than the limit lies in a file without a name, mapped into
memory, which is gone with the store or the process.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from querist.indices import positions
from querist.views import View

IN_MEMORY = 2**28
"""Bytes of all kept views together, above which a view is streamed anew, or lies in a file."""


@dataclass(frozen=True)
class _Kept:
    indices: torch.Tensor
    values: torch.Tensor


class SharedViews:
    """Views of pool samples by one model state.

    Args:
        in_memory: bytes that may be kept in memory.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._held = 0
        self._kept: dict[View, _Kept] = {}

    def has(self, view: View, indices: torch.Tensor) -> bool:
        """Whether `indices` (ascending) were all asked before."""
        kept = self._kept.get(view)
        return kept is not None and _positions(kept.indices, indices) is not None

    def get(self, view: View, indices: torch.Tensor) -> torch.Tensor | None:
        """The rows of `indices` (ascending), or None where one was not asked before.

        Read only: what was asked as it stands is not copied.
        """
        kept = self._kept.get(view)
        if kept is None:
            return None
        if kept.indices is indices:
            return kept.values
        found = _positions(kept.indices, indices)
        if found is None:
            return None
        if len(found) == len(kept.indices):
            return kept.values
        return kept.values.index_select(view.rows, found.to(kept.values.device))

    def room(self, view: View, row: torch.Tensor, n: int, *, needed: bool) -> torch.Tensor | None:
        """Memory for the views of n samples, shaped like those in `row` `(m, ...)`.

        Args:
            view: which.
            row: values of some samples.
            n: how many samples there will be.
            needed: whether a file is made where memory does not suffice; otherwise None comes back.
        """
        shape = list(row.shape)
        shape[view.rows] = n
        size = math.prod(shape) * row.element_size()
        if self._held + size <= self._in_memory:
            return row.new_empty(shape)
        return _mapped(shape, row.dtype) if needed else None

    def keep(self, view: View, indices: torch.Tensor, values: torch.Tensor) -> None:
        """Remember what was said of `indices` (ascending)."""
        before = self._kept.pop(view, None)
        if before is not None:
            self._held -= _bytes(before.values)
        self._kept[view] = _Kept(indices, values)
        self._held += _bytes(values)


def _bytes(values: torch.Tensor) -> int:
    """What it takes of the memory that may be kept; a mapped file takes none."""
    return 0 if hasattr(values, "mapped") else values.numel() * values.element_size()


def _positions(kept: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor | None:
    """Where `wanted` stand among `kept`, both ascending; None where one is missing."""
    if len(kept) == len(wanted) and torch.equal(kept, wanted):
        return torch.arange(len(kept))
    if not len(kept) or len(wanted) > len(kept):
        return None
    found = positions(kept, wanted)
    return None if bool((found < 0).any()) else found


def _mapped(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    with tempfile.TemporaryFile(prefix="querist-views-") as file:
        array = np.memmap(file, dtype=kind, mode="w+", shape=tuple(shape))
    tensor = torch.from_numpy(array)
    tensor.mapped = True  # type: ignore[attr-defined]
    return tensor
