from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from querist.errors import DataError
from querist.pools import DatasetPool
from querist.protocols import Pool


class Items(list[Any]):
    """A map-style data set."""


def test_reads_items_in_the_order_asked() -> None:
    pool = DatasetPool(
        TensorDataset(torch.arange(6.0).reshape(3, 2), torch.tensor([1, 0, 1])), classes=2
    )
    assert isinstance(pool, Pool)
    assert (len(pool), pool.classes, pool.truthful) == (3, 2, True)
    assert pool.features(torch.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert pool.targets(torch.tensor([1, 2])).tolist() == [0, 1]
    assert pool.targets(torch.tensor([1])).dtype == torch.int64


def test_python_numbers_and_lists_are_items_too() -> None:
    pool = DatasetPool([([1.0, 2.0], 0.5), ([3.0, 4.0], 1.5)])
    assert pool.classes is None
    assert pool.features(torch.tensor([1])).tolist() == [[3.0, 4.0]]
    assert pool.targets(torch.tensor([0, 1])).tolist() == [0.5, 1.5]


def test_nothing_asked_nothing_given() -> None:
    pool = DatasetPool(TensorDataset(torch.zeros(3, 2), torch.tensor([1, 0, 1])), classes=2)
    nothing = torch.tensor([], dtype=torch.int64)
    assert len(pool.features(nothing)) == len(pool.targets(nothing)) == 0


def test_class_names_are_counted() -> None:
    pool = DatasetPool(
        TensorDataset(torch.zeros(3, 2), torch.tensor([1, 0, 1])), classes=["cat", "dog"]
    )
    assert pool.classes == 2


def test_items_without_targets() -> None:
    pool = DatasetPool([torch.zeros(2), torch.ones(2)], classes=2)
    assert not pool.truthful
    assert pool.features(torch.tensor([1])).tolist() == [[1.0, 1.0]]
    with pytest.raises(DataError, match="other than `oracle`"):
        pool.targets(torch.tensor([0]))


def test_samples_of_different_shapes() -> None:
    pool = DatasetPool([(torch.zeros(2), 0), (torch.zeros(3), [1, 2])], classes=2)
    with pytest.raises(DataError, match="one shape"):
        pool.features(torch.tensor([0, 1]))
    with pytest.raises(DataError, match="one shape"):
        pool.targets(torch.tensor([0, 1]))


def test_an_empty_data_set() -> None:
    assert len(DatasetPool([])) == 0
