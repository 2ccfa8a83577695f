"""A pool in NumPy files, read from disk as it is needed: it may be larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from querist.errors import DataError
from querist.pools.tensor_pool import TensorPool
from querist.registry import register


@register("pool", "npy")
def npy(features: str, targets: str | None = None, classes: int | None = None) -> TensorPool:
    """Features `(n, ...)`, and optionally their truth, in `.npy` files; features stay on disk.

    Args:
        features: path of the file with the features.
        targets: path of the file with classes `(n,)` or numbers; without it nobody knows them.
        classes: number of classes; default: the highest class + 1, None for float targets.

    Raises:
        DataError: a file is missing, or holds something other than one array of numbers.
    """
    truth = None if targets is None else np.array(_open(targets, "targets"))
    return TensorPool(_open(features, "features"), truth, classes=classes)


def _open(path: str, what: str) -> np.ndarray[Any, Any]:
    """The array in a file, mapped into memory; what is pickled stays unread."""
    if not isinstance(path, str):
        raise DataError(f"{what} of the pool is the path of a .npy file, not {path!r:.80}")
    name = f"{path[-200:]!r}"
    try:
        if not Path(path).is_file():
            raise DataError(f"{what} of the pool is a .npy file, and {name} is no file: name one")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # a file may hold anything, and numpy's reader raises anything
        raise DataError(
            f"{what} of the pool is one array in numpy's format without objects, unlike {name} "
            f"({' '.join(str(error).split())[:200]}): write it with numpy.save(allow_pickle=False)"
        ) from error
    if not isinstance(found, np.memmap) or found.ndim == 0:
        raise DataError(f"{what} of the pool is one array (n, ...), unlike {name}: use numpy.save")
    return found
