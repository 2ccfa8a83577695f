"""What a learner has said of an iteration's candidates, kept for all strategies that ask.

It is computed once for a model state: strategies of one iteration, and those inside a combinator,
look into the same store. What is larger than the limit lies in a file without a name, mapped into
memory, which is gone with the store or the process.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from querist.errors import StorageError
from querist.indices import positions
from querist.views import View

IN_MEMORY = 2**28
"""Bytes of all kept views together, above which a view is streamed anew, or lies in a file."""


_ROWS_AT_ONCE = 2**14
"""Samples that are copied at a time from one file to another."""


@dataclass(frozen=True)
class _Kept:
    indices: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class Found:
    """What was said of some samples, read part by part, so that a file is not copied whole.

    Attributes:
        view: what was asked.
        values: of all samples that were asked then.
        positions: where the samples stand among them; None where they are the same samples.
    """

    view: View
    values: torch.Tensor
    positions: torch.Tensor | None

    @property
    def device(self) -> torch.device:
        """Where the learner computed the values; a file of them lies on the CPU."""
        return computed_on(self.values)

    def rows(self, begin: int, end: int) -> torch.Tensor:
        """Of the samples `begin` to `end`, where `values` lie; without a copy where it can be."""
        dimension = self.view.rows
        if self.positions is None:
            return self.values.narrow(dimension, begin, end - begin)
        return self.values.index_select(dimension, self.positions[begin:end].to(self.values.device))


def computed_on(values: torch.Tensor) -> torch.device:
    """Where values come from that may lie in a file now."""
    device: torch.device = getattr(values, "computed_on", values.device)
    return device


def is_mapped(values: torch.Tensor) -> bool:
    """Whether values lie in a file."""
    return hasattr(values, "mapped")


class SharedViews:
    """Views of pool samples by one model state.

    Args:
        in_memory: bytes that may be kept in memory.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._held = 0
        self._kept: dict[View, _Kept] = {}
        # By identity: two who ask at the same time may fill the same view.
        self._reserved: dict[int, int] = {}

    def has(self, view: View, indices: torch.Tensor) -> bool:
        """Whether `indices` (ascending) were all asked before."""
        return self.find(view, indices) is not None

    def find(self, view: View, indices: torch.Tensor) -> Found | None:
        """The rows of `indices` (ascending), to be read part by part; None where one is missing."""
        kept = self._kept.get(view)
        if kept is None:
            return None
        if kept.indices is indices:
            return Found(view, kept.values, None)
        found = _positions(kept.indices, indices)
        if found is None:
            return None
        return Found(view, kept.values, None if len(found) == len(kept.indices) else found)

    def get(self, view: View, indices: torch.Tensor) -> torch.Tensor | None:
        """The rows of `indices` (ascending), or None where one was not asked before.

        Read only: what was asked as it stands is not copied. Some rows of a file lie in another
        file where they do not fit into memory.

        Raises:
            StorageError: there is no room for the file.
        """
        found = self.find(view, indices)
        if found is None:
            return None
        if found.positions is None:
            return found.values
        if not is_mapped(found.values):
            return found.rows(0, len(indices))
        some = self.room(view, found.rows(0, min(1, len(indices))), len(indices), needed=True)
        assert some is not None
        for begin in range(0, len(indices), _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, len(indices))
            some.narrow(view.rows, begin, end - begin).copy_(found.rows(begin, end))
        self.release(some)
        some.computed_on = found.device  # type: ignore[attr-defined]
        return some

    def room(self, view: View, row: torch.Tensor, n: int, *, needed: bool) -> torch.Tensor | None:
        """Memory for the views of n samples, shaped like those in `row` `(m, ...)`.

        It counts as taken from now on, until `release`, or for as long as it is kept.

        Args:
            view: which.
            row: values of some samples.
            n: how many samples there will be.
            needed: whether a file is made where memory does not suffice; otherwise None comes back.

        Raises:
            StorageError: there is no room for the file.
        """
        shape = list(row.shape)
        shape[view.rows] = n
        size = math.prod(shape) * row.element_size()
        if not size or self._held + sum(self._reserved.values()) + size <= self._in_memory:
            values = row.new_empty(shape)
            self._reserved[id(values)] = size
            return values
        return _mapped(shape, row) if needed else None

    def release(self, values: torch.Tensor) -> None:
        """Count what came from `room` as taken no more; nothing happens if it is kept, or a file.

        Whoever asked for room calls it before the values are gone.
        """
        self._reserved.pop(id(values), None)

    def keep(self, view: View, indices: torch.Tensor, values: torch.Tensor) -> None:
        """Remember what was said of `indices` (ascending)."""
        self.release(values)
        before = self._kept.pop(view, None)
        if before is not None:
            self._held -= _bytes(before.values)
        self._kept[view] = _Kept(indices, values)
        self._held += _bytes(values)


def _bytes(values: torch.Tensor) -> int:
    """What it takes of the memory that may be kept; a mapped file takes none."""
    return 0 if is_mapped(values) else values.numel() * values.element_size()


def _positions(kept: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor | None:
    """Where `wanted` stand among `kept`, both ascending; None where one is missing."""
    if len(kept) == len(wanted) and torch.equal(kept, wanted):
        return torch.arange(len(kept))
    if not len(kept) or len(wanted) > len(kept):
        return None
    found = positions(kept, wanted)
    return None if bool((found < 0).any()) else found


def _mapped(shape: list[int], row: torch.Tensor) -> torch.Tensor:
    """A file for values like those in `row`, which lies on the CPU.

    Its blocks are taken at once: a write into memory that the disk has no block for ends a process.
    """
    kind = torch.empty(0, dtype=row.dtype).numpy().dtype
    size = math.prod(shape) * kind.itemsize
    try:
        with tempfile.TemporaryFile(prefix="querist-views-") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            array = np.memmap(file, dtype=kind, mode="r+", shape=tuple(shape))
    except OSError as error:
        raise StorageError(
            f"what a learner says of many samples lies in a file in {tempfile.gettempdir()}, and "
            f"{size} bytes do not fit there, {error.strerror or error}: make room, let TMPDIR name "
            "a folder on a larger disk, or put `subsample` before the query strategy"
        ) from error
    tensor = torch.from_numpy(array)
    tensor.mapped = True  # type: ignore[attr-defined]
    tensor.computed_on = row.device  # type: ignore[attr-defined]
    return tensor
