"""Fashion-MNIST as Debian's package `dataset-fashion-mnist` has it (Xiao et al. 2017)."""

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from querist.errors import DataError
from querist.pools import TensorPool

FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where the package puts its files."""
_HEADER = {"images": 16, "labels": 8}


def fashion_pool(n: int = 12_000, test: int = 5_000, folder: str = FOLDER) -> TensorPool:
    """The first `n` training images, and the first `test` test images as held-out test set."""
    held_out = _images(Path(folder), "t10k", test)
    images = _images(Path(folder), "train", n)
    return TensorPool(*images, classes=10, held_out={"test": TensorPool(*held_out, classes=10)})


def _images(
    folder: Path, part: str, count: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images `(n, 784)` in 0 .. 1 and their classes `(n,)`."""
    pixels = _read(folder / f"{part}-images-idx3-ubyte.gz", "images").reshape(-1, 784)
    classes = _read(folder / f"{part}-labels-idx1-ubyte.gz", "labels")
    return (pixels[:count] / 255).astype(np.float32), classes[:count].astype(np.int64)


def _read(file: Path, what: str) -> npt.NDArray[np.uint8]:
    try:
        content = gzip.decompress(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"there is no {file}: install Debian's package dataset-fashion-mnist, or set folder"
        ) from error
    return np.frombuffer(content, dtype=np.uint8, offset=_HEADER[what])
