"""An approximate index of nearest neighbours, by faiss: inverted lists around centres.

The Faiss Library, Douze et al., 2024, arXiv:2401.08281. Centres come from k-means on evenly spaced
samples, by faiss's own fixed seed; each sample is in the list of its nearest centre, and a query is
compared with the samples of some lists. The same samples give the same index.

A large pool is cut into parts, one after the other, so that building needs memory for one of them;
in a folder each part is a file that is mapped into memory, and what a killed process left is gone
on with. A file that faiss cannot read is built again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from querist.errors import ConfigurationError

_log = logging.getLogger(__name__)

PART = 2**29
"""Bytes of a part of the index, which is how much memory building takes."""

ROWS = 65_536
"""Samples that are read at a time."""

MOST_LISTS = 16_384
"""More make searching cheaper and building dearer: both grow with the pool."""

_PER_LIST = 64
"""Samples per list that centres are found from."""

Rows = Callable[[torch.Tensor], torch.Tensor]
"""Indices `(m,)` -> features `(m, d)`."""


def import_faiss() -> Any:
    """The package faiss.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigurationError(
            "an approximate index of neighbours needs faiss: pip install 'querist[neighbours]', or "
            "set index to exact"
        ) from error
    return faiss


class ApproximateNeighbours:
    """The samples 0 .. size - 1 of a pool, to find the nearest ones of others.

    Args:
        rows: reads features.
        size: how many samples there are.
        folder: where the index is kept, or found; None keeps it in memory.
    """

    def __init__(self, rows: Rows, size: int, folder: Path | None = None) -> None:
        self.size = size
        self._faiss = import_faiss()
        self._rows = rows
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        empty = self._kept("lists", self._lists, mapped=False)
        step = max(1, PART // (4 * empty.d + 8))
        self._parts = [self._filled(empty, b, min(b + step, size)) for b in range(0, size, step)]

    def nearest(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor, probes: int
    ) -> torch.Tensor:
        """Indices of about the k nearest samples of each query `(m, k)`, the nearest first.

        Args:
            queries: features `(m, d)`.
            k: how many.
            allowed: indices that may be found, ascending.
            probes: in how many lists of each part they are looked for.

        Returns:
            int64; -1 where the lists hold fewer.
        """
        faiss, given = self._faiss, _as_array(queries)
        distances = np.full((len(given), k), np.inf, dtype=np.float32)
        found = np.full((len(given), k), -1, dtype=np.int64)
        for begin, end, part in self._parts:
            first, last = torch.searchsorted(allowed, torch.tensor([begin, end])).tolist()
            marked = np.zeros(end - begin, dtype=bool)
            marked[(allowed[first:last] - begin).numpy()] = True
            bits = np.packbits(marked, bitorder="little")  # faiss reads them where they are
            selector = faiss.IDSelectorBitmap(bits)
            inner = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
            how = faiss.SearchParametersPreTransform(index_params=inner)
            near, at = part.search(given, k, params=how)
            near, at = np.where(at < 0, np.inf, near), np.where(at < 0, -1, at + begin)
            # Stable, and parts come in order: of equal distances the lower index comes first.
            near, at = np.concatenate([distances, near], 1), np.concatenate([found, at], 1)
            order = np.argsort(near, axis=1, kind="stable")[:, :k]
            distances = np.take_along_axis(near, order, 1)
            found = np.take_along_axis(at, order, 1)
        return torch.from_numpy(found)

    def _kept(self, name: str, make: Callable[[], Any], *, mapped: bool = True) -> Any:
        """A part of the index from its file, or made, and then filed whole or not at all."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.faiss"
        flags = self._faiss.IO_FLAG_MMAP | self._faiss.IO_FLAG_READ_ONLY if mapped else 0
        if path.exists():
            try:
                return self._faiss.read_index(str(path), flags)
            except RuntimeError as error:  # what faiss says of a file that is cut or no index
                _log.warning("%s is damaged and is built again: %.300s", path, error)
                path.unlink()
        unfinished = path.with_suffix(".unfinished")
        self._faiss.write_index(make(), str(unfinished))
        _flush(unfinished)  # else a power cut may leave the new name on an empty file
        os.replace(unfinished, path)
        return self._faiss.read_index(str(path), flags)

    def _lists(self) -> Any:
        """The index of no samples: what features are moved by, and the centres."""
        faiss = self._faiss
        lists = max(1, min(int(4 * self.size**0.5), self.size // 40, MOST_LISTS))
        few = min(self.size, _PER_LIST * lists)
        some = self._read(torch.arange(few) * self.size // few)
        width = some.shape[1]
        inverted = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, lists)
        inverted.cp.niter = 10
        # Moved to their middle: squares of what lies far from 0 have no digits left.
        index = faiss.IndexPreTransform(faiss.CenteringTransform(width), inverted)
        index.train(some)
        return index

    def _filled(self, empty: Any, begin: int, end: int) -> tuple[int, int, Any]:
        """Where a part begins and ends, and its index."""

        def make() -> Any:
            index = self._faiss.deserialize_index(self._faiss.serialize_index(empty))
            for indices in torch.arange(begin, end).split(ROWS):
                index.add(self._read(indices))
            return index

        return begin, end, self._kept(f"{begin}-{end}", make)

    def _read(self, indices: torch.Tensor) -> np.ndarray[Any, Any]:
        return np.concatenate([_as_array(self._rows(part)) for part in indices.split(ROWS)])


def _flush(path: Path) -> None:
    """Return when the file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _as_array(features: torch.Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(features.cpu().numpy(), dtype=np.float32)
