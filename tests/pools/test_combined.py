from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import DataError
from querist.pools import CombinedPool, TensorPool


def tensor_pool(n: int, start: int) -> TensorPool:
    numbers = torch.arange(start, start + n)
    return TensorPool(numbers.float()[:, None], numbers % 2, classes=2)


def combined(n: int = 5, initial: int = 3, made: int = 2) -> CombinedPool:
    pool = CombinedPool(tensor_pool(n, 0), tensor_pool(initial, 100) if initial else None)
    for k in range(made):
        pool.add(torch.tensor([200.0 + k]))
    return pool


@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 4), st.data())
def test_features_go_to_the_part_they_are_in(
    n: int, initial: int, made: int, data: st.DataObject
) -> None:
    pool = combined(n, initial, made)
    content = [*range(n), *range(100, 100 + initial), *range(200, 200 + made)]
    assert len(pool) == len(content)
    asked = data.draw(st.lists(st.integers(0, len(content) - 1), max_size=10))
    found = pool.features(torch.tensor(asked, dtype=torch.int64))
    assert found.flatten().tolist() == [content[i] for i in asked]
    known = [i for i in asked if i < pool.made_from]
    targets = pool.targets(torch.tensor(known, dtype=torch.int64))
    assert targets.tolist() == [content[i] % 2 for i in known]


def test_made_samples_have_no_truth() -> None:
    with pytest.raises(DataError, match="not `oracle`"):
        combined().targets(torch.tensor([0, 8]))


def test_made_samples_are_numbered_on_and_forgotten() -> None:
    pool = combined()
    assert pool.made_from == 8
    assert pool.add(torch.tensor([7.0])) == 10
    pool.forget_from(9)
    assert len(pool) == 9
    assert pool.add(torch.tensor([8.0])) == 9
    assert pool.features(torch.tensor([9])).tolist() == [[8.0]]


def test_parts_must_fit() -> None:
    with pytest.raises(DataError, match="same classes, not 2 and 3"):
        CombinedPool(tensor_pool(3, 0), TensorPool(torch.zeros(3, 1), classes=3))
    with pytest.raises(DataError, match=r"one shape, not \(1,\) and \(4,\)"):
        CombinedPool(tensor_pool(3, 0), TensorPool(torch.zeros(3, 4), classes=2))


def test_truth_of_the_initial_pool_alone() -> None:
    pool = CombinedPool(TensorPool(torch.zeros(4, 1), classes=2), tensor_pool(3, 1))
    assert not pool.truthful
    assert pool.targets(torch.tensor([4, 5])).tolist() == [1, 0]
    with pytest.raises(DataError, match="does not know its labels"):
        pool.targets(torch.tensor([0]))
    with pytest.raises(DataError, match="does not know its labels"):
        pool.targets(torch.tensor([0, 4]))


def test_in_memory_when_all_parts_are() -> None:
    from querist.pools import DatasetPool

    assert combined().in_memory
    read_one_by_one = DatasetPool([(torch.zeros(1), 0)], classes=2)
    assert not CombinedPool(read_one_by_one).in_memory
    assert not CombinedPool(tensor_pool(2, 0), read_one_by_one).in_memory
