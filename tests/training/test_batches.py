from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from querist.pools import DatasetPool, LabeledSet, TensorPool
from querist.training.batches import LoaderBatches, TensorBatches, batches_of, to_device

CPU = torch.device("cpu")


def both(n: int) -> tuple[LabeledSet, LabeledSet]:
    features, targets = torch.arange(n).float()[:, None], torch.arange(n) % 2
    items = DatasetPool(list(zip(features, targets, strict=True)), classes=2)
    everything = torch.arange(n)
    return (
        LabeledSet(TensorPool(features), everything, targets),
        LabeledSet(items, everything, targets),
    )


@given(st.integers(1, 30), st.integers(1, 40), st.none() | st.integers(0, 2**63 - 1))
def test_every_sample_once_in_an_order_of_the_seed(n: int, size: int, seed: int | None) -> None:
    for labeled in both(n):
        batches = batches_of(labeled, size, CPU, torch.float32)
        found = [int(x) for features, _ in batches.epoch(seed) for x in features[:, 0]]
        assert sorted(found) == list(range(n))
        assert found == [int(x) for features, _ in batches.epoch(seed) for x in features[:, 0]]
        if seed is None:
            assert found == list(range(n))
        sizes = [len(targets) for _, targets in batches.epoch(seed)]
        assert all(s == size for s in sizes[:-1])


def test_tensors_in_memory_need_no_loader() -> None:
    in_memory, one_by_one = both(3)
    assert isinstance(batches_of(in_memory, 2, CPU, torch.float32), TensorBatches)
    assert isinstance(batches_of(one_by_one, 2, CPU, torch.float32), LoaderBatches)


def test_features_keep_their_targets() -> None:
    for labeled in both(20):
        for features, targets in batches_of(labeled, 3, CPU, torch.float64).epoch(5):
            assert features.dtype == torch.float64
            assert torch.equal(features[:, 0].long() % 2, targets)


def test_nested_batches_are_moved() -> None:
    batch: Any = {"x": [torch.zeros(2), (torch.zeros(1, dtype=torch.int64), "text")]}
    moved = to_device(batch, CPU, torch.float64)
    assert moved["x"][0].dtype == torch.float64
    assert moved["x"][1][0].dtype == torch.int64
    assert moved["x"][1][1] == "text"
