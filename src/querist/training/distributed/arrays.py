"""A labeled set in files that several processes map into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

from querist.errors import LearnerError
from querist.pools.labeled import LabeledSet
from querist.pools.tensor_pool import TensorPool
from querist.storage.atomic import storage_errors

_CHUNK_BYTES = 2**24


def write_labeled(folder: Path, name: str, labeled: Any) -> dict[str, Any]:
    """Write features and targets into `folder`; returns what `read_labeled` needs to know.

    A part at a time, so that a set which is read from disk is never in memory as a whole.

    Raises:
        LearnerError: it is not made of tensors.
        StorageError: the disk refused.
    """
    if not isinstance(labeled, LabeledSet):
        raise LearnerError(
            "several training processes are handed features and targets as tensors, and a "
            f"{type(labeled).__name__} has items of its own: set training.processes to 1, or use "
            "a pool with features(indices)"
        )
    pool, indices = labeled.pool, labeled.indices
    return {
        "in_memory": bool(getattr(pool, "in_memory", False)),
        "features": _write(
            folder / f"{name}_features.npy",
            len(labeled),
            lambda first, last: pool.features(indices[first:last]),
        ),
        "targets": _write(
            folder / f"{name}_targets.npy",
            len(labeled),
            lambda first, last: labeled.targets[first:last],
        ),
    }


def _write(path: Path, rows: int, part: Callable[[int, int], torch.Tensor]) -> str:
    """Write rows that are made a part at a time; returns torch's name of their type."""
    first = part(0, min(rows, 1))
    if not isinstance(first, torch.Tensor):
        raise LearnerError(
            f"several training processes are handed tensors, and the pool gives features as a "
            f"{type(first).__name__}: set training.processes to 1"
        )
    each = max(1, first.numel() * first.element_size())
    step = max(1, _CHUNK_BYTES // each)
    header = npy.header_data_from_array_1_0(_as_array(first))
    with storage_errors(path), path.open("wb") as file:
        # Not through a memory map: on a full disk that is a bus error.
        npy.write_array_header_1_0(file, {**header, "shape": (rows, *first.shape[1:])})
        for start in range(0, rows, step):
            file.write(_as_array(part(start, min(rows, start + step))).tobytes())
    return str(first.dtype).removeprefix("torch.")


def _as_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    found = tensor.detach().cpu().contiguous()
    return (found.view(torch.int16) if found.dtype is torch.bfloat16 else found).numpy()


def read_labeled(folder: Path, name: str, about: Mapping[str, Any]) -> LabeledSet:
    """The labeled set that was written, mapped into memory."""
    pool = TensorPool(_read(folder / f"{name}_features.npy", about["features"]))
    pool.in_memory = about["in_memory"]
    stored = np.load(folder / f"{name}_targets.npy", allow_pickle=False)
    targets = torch.from_numpy(np.array(stored))
    return LabeledSet(pool, torch.arange(len(targets)), targets)


def _read(path: Path, dtype: str) -> torch.Tensor | np.ndarray[Any, Any]:
    if dtype != "bfloat16":  # which numpy does not know
        found: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).view(torch.bfloat16)
