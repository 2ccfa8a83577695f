from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from querist.errors import DataError
from querist.pools import npy
from querist.pools.check import check_pool
from querist.registry import build


def saved(path: Path, content: object) -> str:
    np.save(path, content)
    return str(path)


def test_features_stay_on_disk(tmp_path: Path) -> None:
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    pool = build(
        "pool",
        "npy",
        {
            "features": saved(tmp_path / "x.npy", features),
            "targets": saved(tmp_path / "y.npy", np.array([0, 1, 2, 0, 1, 2])),
        },
    )
    assert isinstance(pool._features, np.memmap)
    assert not pool._features.flags.writeable
    assert (len(pool), pool.classes, pool.truthful) == (6, 3, True)
    assert pool.features(torch.tensor([4, 1])).tolist() == [[8.0, 9.0], [2.0, 3.0]]
    assert pool.targets(torch.tensor([4, 1])).tolist() == [1, 1]
    assert len(check_pool(pool)) == 64


def test_without_targets_nobody_knows_them(tmp_path: Path) -> None:
    pool = npy(saved(tmp_path / "x.npy", np.zeros((3, 2))), classes=4)
    assert (pool.truthful, pool.classes) == (False, 4)


@pytest.mark.parametrize("content", [np.array(3.0), np.array(["a"]), np.zeros(3, ">f4"),
                                     np.zeros(3, np.longdouble), np.zeros(3, complex),
                                     np.zeros(3, [("a", "f4")]), np.zeros(3, "M8[s]")])  # fmt: skip
def test_what_is_no_array_of_numbers_that_torch_knows(tmp_path: Path, content: object) -> None:
    path = saved(tmp_path / "x.npy", content)
    with pytest.raises(DataError, match="features"):
        npy(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"not an array", b"PK\x03\x04", b"\x80\x04."]
)
def test_what_is_no_file_of_numpy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match="one array in numpy's format") as error:
        npy(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["nothing.npy", "a\x00b", "", ".", "x" * 5000])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(DataError, match="of the pool is"):
        npy(path)


def test_one_target_per_sample(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not 2 targets for 3 samples"):
        npy(saved(tmp_path / "x.npy", np.zeros((3, 2))), saved(tmp_path / "y.npy", np.zeros(2)))
