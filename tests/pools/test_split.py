from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from querist.config.data import InitialConfig, SplitConfig
from querist.errors import DataError
from querist.pools import CombinedPool, TensorPool
from querist.pools.split import TEST, TRAIN, VALIDATION, initial_indices, split_pool


def pool(*counts: int) -> TensorPool:
    """So many samples of each class, in turn."""
    targets = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    return TensorPool(torch.arange(len(targets)).float()[:, None], targets, classes=len(counts))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(made: TensorPool, train: torch.Tensor | None = None, seed: int = 0, **config: Any) -> Any:
    train = torch.arange(len(made)) if train is None else train
    return initial_indices(CombinedPool(made), InitialConfig(**config), train, generator(seed))


def test_exact_counts() -> None:
    found = split_pool(
        pool(100, 100), SplitConfig(test=0.2, validation=0.1, stratify=False), generator()
    )
    assert {name: len(x) for name, x in found.items()} == {TRAIN: 140, VALIDATION: 20, TEST: 40}


def test_stratified_counts_by_class() -> None:
    made = pool(70, 20, 10)
    found = split_pool(made, SplitConfig(test=0.2, validation=0.1), generator())
    assert made.targets(found[TEST]).bincount().tolist() == [14, 4, 2]
    assert made.targets(found[VALIDATION]).bincount().tolist() == [7, 2, 1]
    assert made.targets(found[TRAIN]).bincount().tolist() == [49, 14, 7]


def test_a_class_without_samples_and_targets_that_nobody_knows() -> None:
    gap = TensorPool(torch.zeros(10, 1), torch.tensor([0, 2] * 5), classes=3)
    assert len(split_pool(gap, SplitConfig(test=0.2), generator())[TEST]) == 2
    unknown = TensorPool(torch.zeros(10, 1), classes=2)
    assert len(split_pool(unknown, SplitConfig(test=0.2), generator())[TEST]) == 2


def test_regression_is_not_stratified() -> None:
    numbers = TensorPool(torch.zeros(10, 1), torch.rand(10))
    assert len(split_pool(numbers, SplitConfig(test=0.3), generator())[TEST]) == 3


def test_nothing_left_to_learn_from() -> None:
    with pytest.raises(DataError, match="leaves none of 2 samples"):
        split_pool(pool(1, 1), SplitConfig(test=0.9), generator())


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=4).filter(lambda c: sum(c) >= 10),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.booleans(),
    st.integers(0, 100),
)
def test_subsets_are_a_partition_that_depends_on_the_seed_alone(
    counts: list[int], test: float, validation: float, stratify: bool, seed: int
) -> None:
    made = pool(*counts)
    config = SplitConfig(test=test, validation=validation, stratify=stratify)
    found = split_pool(made, config, generator(seed))
    assert torch.cat(list(found.values())).sort().values.tolist() == list(range(len(made)))
    for subset in found.values():
        assert torch.equal(subset, subset.sort().values)
    again = split_pool(made, config, generator(seed))
    assert all(torch.equal(found[name], again[name]) for name in found)
    for name, share in ((TEST, test), (VALIDATION, validation)):
        by_class = made.targets(found[name]).bincount(minlength=len(counts)).tolist()
        if stratify and test + validation > 0:
            expected = [round(share * n) for n in counts]
            assert all(
                abs(a - b) <= (name == VALIDATION) for a, b in zip(by_class, expected, strict=True)
            )
        else:
            assert abs(sum(by_class) - share * len(made)) <= 1


def test_another_seed_gives_another_split() -> None:
    config = SplitConfig(test=0.5)
    found = [split_pool(pool(50, 50), config, generator(seed))[TEST] for seed in (0, 1)]
    assert not torch.equal(found[0], found[1])


def test_initial_by_share_and_count() -> None:
    made = pool(700, 300)
    assert len(drawn(made, share=0.05)) == 50
    assert len(drawn(made, count=7)) == 7
    assert torch.equal(drawn(made, count=7), drawn(made, count=7))
    assert not torch.equal(drawn(made, count=7), drawn(made, count=7, seed=1))
    assert sorted(drawn(made, share=1.0).tolist()) == list(range(1000))


def test_initial_by_class() -> None:
    made = pool(70, 30)
    assert made.targets(drawn(made, count=10, stratify=True)).bincount().tolist() == [7, 3]
    assert made.targets(drawn(made, count=5, stratify=True)).bincount().tolist() in ([4, 1], [3, 2])
    assert len(drawn(made, share=1.0, stratify=True)) == 100


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(lambda c: sum(c) > 0),
    st.data(),
    st.booleans(),
)
def test_initial_samples_are_different_and_never_held_back(
    counts: list[int], data: st.DataObject, stratify: bool
) -> None:
    made = pool(*counts)
    train = split_pool(made, SplitConfig(test=0.3), generator())[TRAIN]
    count = data.draw(st.integers(1, len(train)))
    found = drawn(made, train, count=count, stratify=stratify)
    assert len(found) == len(found.unique()) == count
    assert bool(torch.isin(found, train).all())
    if stratify:
        shares = made.targets(train).bincount(minlength=len(counts)) / len(train)
        got = made.targets(found).bincount(minlength=len(counts)) / count
        assert bool(((shares - got).abs() * count < 1 + 1e-4).all())


def test_initial_by_index_keeps_its_order() -> None:
    assert drawn(pool(5, 5), indices=(7, 2, 9)).tolist() == [7, 2, 9]


@pytest.mark.parametrize(
    ("indices", "word"), [((3, 3), "some are repeated"), ((0, 10), r"\[10\]"), ((8,), r"\[8\]")]
)
def test_initial_indices_that_cannot_be(indices: tuple[int, ...], word: str) -> None:
    with pytest.raises(DataError, match=word):
        drawn(pool(5, 5), torch.arange(8), indices=indices)


@pytest.mark.parametrize("config", [{"count": 9}, {"share": 0.001}])
def test_initial_samples_that_are_too_many_or_none(config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="of the 8 samples that are not held back"):
        drawn(pool(5, 5), torch.arange(8), **config)


def test_initial_pool_of_its_own() -> None:
    both = CombinedPool(pool(5, 5), pool(2, 2))
    config = InitialConfig(pool="digits")
    found = initial_indices(both, config, torch.arange(10), generator())
    assert found.tolist() == [10, 11, 12, 13]
