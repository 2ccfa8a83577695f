from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from querist.config.training import TrainingConfig
from querist.errors import LearnerError
from querist.pools import DatasetPool, LabeledSet, TensorPool
from querist.training.batches import (
    LoaderBatches,
    Order,
    TensorBatches,
    to_device,
    training_batches,
    validation_batches,
)
from querist.training.job import TrainingJob

CPU = torch.device("cpu")


def a_job(**more: Any) -> TrainingJob:
    own = {k: more.pop(k) for k in list(more) if k in TrainingJob.__dataclass_fields__}
    base = {"iteration": 0, "seed": 1, "device": CPU, "dtype": torch.float32}
    return TrainingJob(**{**base, "settings": TrainingConfig(**more), **own})


def both(n: int) -> tuple[LabeledSet, LabeledSet]:
    features, targets = torch.arange(n).float()[:, None], torch.arange(n) % 2
    items = DatasetPool(list(zip(features, targets, strict=True)), classes=2)
    everything = torch.arange(n)
    return (
        LabeledSet(TensorPool(features), everything, targets),
        LabeledSet(items, everything, targets),
    )


class Share:
    """One of several processes that share their batches; nothing is sent."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def seen(batches: Any, seed: int | None) -> list[list[int]]:
    return [[int(x) for x in features[:, 0]] for features, _ in batches.epoch(seed)]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


@given(st.integers(1, 30), st.integers(1, 40), st.none() | st.integers(0, 2**63 - 1))
def test_every_sample_once_in_an_order_of_the_seed(n: int, size: int, seed: int | None) -> None:
    for labeled in both(n):
        batches = training_batches(labeled, a_job(batch_size=size))
        found = seen(batches, seed)
        assert sorted(flat(found)) == list(range(n))
        assert found == seen(batches, seed)
        if seed is None:
            assert flat(found) == list(range(n))
        assert all(len(batch) == size for batch in found[:-1])
        assert (len(batches), batches.samples) == (len(found), n)


@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.sampled_from(["keep", "drop", "fill"]),
    st.integers(1, 4),
    st.integers(0, 2**63 - 1),
)
def test_processes_share_one_order(n: int, size: int, last: Any, processes: int, seed: int) -> None:
    assume(last != "drop" or n >= size * processes)
    orders = [Order(n, size, last, Share(rank, processes)) for rank in range(processes)]  # type: ignore[arg-type]
    alone = Order(n, size, last).indices(seed).tolist()
    shares = [order.indices(seed).tolist() for order in orders]
    assert len({len(share) for share in shares}) == 1
    together = [index for row in zip(*shares, strict=True) for index in row]
    common = min(len(alone), len(together))
    assert together[:common] == alone[:common]
    if last == "drop":
        assert len(together) == n // (size * processes) * size * processes
    else:
        assert set(together) == set(range(n))
        whole = size * processes if last == "fill" else processes
        assert len(together) % whole == 0
        assert len(together) < n + whole
    assert all(order.samples == len(share) for order, share in zip(orders, shares, strict=True))


def test_a_last_batch_that_is_dropped_leaves_something() -> None:
    labeled, _ = both(3)
    with pytest.raises(LearnerError, match=r"3 samples make no batch of 4 .* lower training.batch"):
        training_batches(labeled, a_job(batch_size=4, last_batch="drop"))


def test_validation_shares_have_every_sample_once() -> None:
    labeled, _ = both(5)
    found = []
    for rank in range(3):
        share = a_job(validation=labeled, group=Share(rank, 3))
        batches = validation_batches(share)
        assert batches is not None
        found += flat(seen(batches, None))
    assert sorted(found) == list(range(5))
    assert validation_batches(a_job()) is None


def test_tensors_in_memory_need_no_loader() -> None:
    in_memory, one_by_one = both(3)
    assert isinstance(training_batches(in_memory, a_job()), TensorBatches)
    assert isinstance(training_batches(one_by_one, a_job()), LoaderBatches)


def test_features_keep_their_targets() -> None:
    for labeled in both(20):
        for features, targets in training_batches(labeled, a_job(dtype=torch.float64)).epoch(5):
            assert features.dtype == torch.float64
            assert torch.equal(features[:, 0].long() % 2, targets)


class Noisy(torch.utils.data.Dataset[Any]):
    """Features with noise from each of the global generators."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        noise = [random.random(), np.random.random(), float(torch.rand(()))]
        return torch.tensor([index, *noise], dtype=torch.float64), torch.tensor(0)


def test_augmentations_do_not_depend_on_the_number_of_workers() -> None:
    def epoch(workers: int, seed: int) -> torch.Tensor:
        job = a_job(dtype=torch.float64, batch_size=2, loader={"workers": workers})
        batches = training_batches(Noisy(), job)
        return torch.cat([features for features, _ in batches.epoch(seed)])

    assert torch.equal(epoch(1, 3), epoch(2, 3))
    assert not torch.equal(epoch(1, 3).sort(0).values, epoch(1, 4).sort(0).values)


def test_processes_do_not_augment_alike() -> None:
    def epoch(rank: int, size: int) -> torch.Tensor:
        job = a_job(
            dtype=torch.float64,
            batch_size=2,
            last_batch="fill",
            loader={"workers": 1},
            group=Share(rank, size),
        )
        return torch.cat([features for features, _ in training_batches(Noisy(), job).epoch(3)])

    # In the order of all: what two processes do is what one does.
    together = torch.stack([epoch(0, 2), epoch(1, 2)], 1).flatten(0, 1)
    assert torch.equal(together, epoch(0, 1))


def test_workers_go_on_from_epoch_to_epoch() -> None:
    batches = training_batches(Noisy(), a_job(batch_size=2, loader={"workers": 1}))
    first, second = (sorted(flat(seen(batches, seed))) for seed in (1, 2))
    assert first == second == list(range(7))


TRANSFORMS: dict[str, Any] = {"none": lambda features: features}


class Transformed(Noisy):
    """Has a lambda of this module, which pickle looks for by its name in vain."""

    def __init__(self) -> None:
        self.transform = TRANSFORMS["none"]


@pytest.mark.parametrize("kind", ["local class", "lambda"])
def test_what_workers_cannot_be_given_is_refused(kind: str) -> None:
    class Local(Noisy):
        pass

    items = Local() if kind == "local class" else Transformed()
    batches = training_batches(items, a_job(loader={"workers": 1}))
    with pytest.raises(LearnerError, match=r"must be picklable.* set training.loader.workers to 0"):
        list(batches.epoch(0))


def test_nested_batches_are_moved() -> None:
    batch: Any = {"x": [torch.zeros(2), (torch.zeros(1, dtype=torch.int64), "text")]}
    moved = to_device(batch, CPU, torch.float64)
    assert moved["x"][0].dtype == torch.float64
    assert moved["x"][1][0].dtype == torch.int64
    assert moved["x"][1][1] == "text"
