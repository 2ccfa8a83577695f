from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import DataError
from querist.pools import TensorPool, digits
from querist.protocols import Pool, TruthfulPool


def test_features_and_targets_come_in_the_order_asked() -> None:
    pool = TensorPool(torch.arange(10).reshape(5, 2), torch.tensor([0, 1, 0, 1, 1]))
    assert isinstance(pool, TruthfulPool)
    assert (len(pool), pool.classes, pool.truthful) == (5, 2, True)
    assert pool.features(torch.tensor([3, 0])).tolist() == [[6, 7], [0, 1]]
    assert pool.targets(torch.tensor([3, 0])).tolist() == [1, 0]
    assert pool.features(torch.tensor([], dtype=torch.int64)).shape == (0, 2)


@pytest.mark.parametrize(
    "targets", [np.array([0, 1, 2], dtype=np.uint8), np.array([0, 2, 1], dtype=np.int32)]
)
def test_integer_arrays_are_classes(targets: Any) -> None:
    pool = TensorPool(np.zeros((3, 2)), targets)
    assert pool.classes == 3
    assert pool.targets(torch.arange(3)).dtype == torch.int64


def test_floats_are_for_regression() -> None:
    assert TensorPool(np.zeros((3, 2)), np.zeros(3)).classes is None
    assert TensorPool(np.zeros((3, 2)), np.zeros((3, 4))).targets(torch.tensor([1])).shape == (1, 4)


def test_a_memory_mapped_array_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    np.save(path, np.arange(20, dtype=np.float32).reshape(10, 2))
    mapped = np.load(path, mmap_mode="r")
    pool = TensorPool(mapped, np.arange(10) % 2)
    assert pool._features is mapped
    found = pool.features(torch.tensor([9, 0]))
    assert found.tolist() == [[18.0, 19.0], [0.0, 1.0]]
    found[0] = 0  # a copy: the file stays as it is
    assert mapped[9].tolist() == [18.0, 19.0]


@pytest.mark.parametrize(
    ("targets", "classes", "words"),
    [
        (torch.tensor([0, 1]), None, "2 targets for 3 samples"),
        (torch.tensor([0, 1, 2]), 2, r"integers 0 to 1, not torch.int64 from 0 to 2"),
        (torch.tensor([0, -1, 1]), 2, "from -1 to 1"),
        (torch.tensor([0.0, 1.0, 1.0]), 2, "torch.float32"),
        (torch.tensor([[0], [1], [1]]), 2, r"one integer per sample .*\(3, 1\)"),
        (torch.tensor([[0], [1], [1]]), None, r"one integer per sample .*\(3, 1\)"),
    ],
)
def test_targets_that_do_not_fit(targets: torch.Tensor, classes: int | None, words: str) -> None:
    with pytest.raises(DataError, match=words):
        TensorPool(torch.zeros(3, 2), targets, classes=classes)


@pytest.mark.parametrize("features", [np.array([["a"]]), np.array([[None]]), np.array([[1j]])])
def test_features_that_are_no_numbers(features: Any) -> None:
    with pytest.raises(DataError, match="features are numbers, not"):
        TensorPool(features)


def test_a_pool_whose_truth_nobody_knows() -> None:
    pool = TensorPool(torch.zeros(3, 2), classes=2)
    assert isinstance(pool, Pool)
    assert not pool.truthful
    with pytest.raises(DataError, match="does not know its labels"):
        pool.targets(torch.tensor([0]))


def test_digits() -> None:
    pool = digits()
    everything = torch.arange(len(pool))
    assert (len(pool), pool.classes) == (1797, 10)
    features = pool.features(everything)
    assert features.shape == (1797, 64)
    assert features.dtype == torch.float32
    assert 0 <= float(features.min()) < float(features.max()) == 1


@settings(deadline=None, max_examples=60)
@given(
    gaps=st.lists(st.integers(1, 3), min_size=0, max_size=4),
    first=st.integers(0, 50),
    length=st.integers(1, 200),
    array=st.booleans(),
    backwards=st.booleans(),
)
def test_runs_of_indices_give_what_single_ones_do(
    gaps: list[int], first: int, length: int, array: bool, backwards: bool
) -> None:
    features = torch.arange(4000.0).reshape(2000, 2)
    starts = [first + length * i + sum(gaps[:i]) for i in range(len(gaps) + 1)]
    runs = [torch.arange(start, start + length) for start in starts]
    indices = torch.cat(runs[::-1] if backwards else runs)
    pool = TensorPool(features.numpy() if array else features)
    found = pool.features(indices)
    assert torch.equal(found, features[indices])
    found.zero_()  # a copy, so that nobody writes into the pool
    assert torch.equal(pool.features(indices), features[indices])


@pytest.mark.parametrize("array", [True, False])
def test_runs_that_leave_the_pool_are_refused_as_before(array: bool) -> None:
    features = torch.rand(100, 2)
    pool = TensorPool(features.numpy() if array else features)
    assert torch.equal(pool.features(torch.arange(-50, 0)), features[50:])
    with pytest.raises(IndexError):
        pool.features(torch.arange(60, 160))
