from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from querist.errors import DataError
from querist.pools import TensorPool
from querist.pools import check as checks
from querist.pools.check import check_disjoint, check_pool


def test_an_empty_pool() -> None:
    with pytest.raises(DataError, match="data.pool is empty"):
        check_pool(TensorPool(torch.empty(0, 2)))
    with pytest.raises(DataError, match="data.initial.pool is empty"):
        check_pool(TensorPool(torch.empty(0, 2)), "data.initial.pool")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_counted(
    bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CHUNK", 7)
    features = torch.zeros(50, 2, 3)
    features[[12, 20, 49], 1, 2] = bad
    features[12, 0, 0] = bad  # twice in one sample
    with pytest.raises(DataError, match=r"3 of the 50 samples .* the first is sample 12") as error:
        check_pool(TensorPool(features))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "features",
    [torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.bool), torch.zeros(3, 0),
     torch.zeros(4, 3).T, np.zeros((3, 2), dtype=np.uint8),
     torch.zeros(3, 2, dtype=torch.bfloat16)],
)  # fmt: skip
def test_features_of_any_type(features: torch.Tensor) -> None:
    assert len(check_pool(TensorPool(features))) == 64


def test_features_that_are_no_tensor() -> None:
    class Arrays(TensorPool):
        def features(self, indices: torch.Tensor) -> np.ndarray:
            return super().features(indices).numpy()

    class Short(TensorPool):
        def features(self, indices: torch.Tensor) -> torch.Tensor:
            return super().features(indices)[:-1]

    for kind in (Arrays, Short):
        with pytest.raises(DataError, match=r"one tensor \(3, ...\) for 3 samples, not"):
            check_pool(kind(torch.zeros(3, 2)))


def test_the_fingerprint_is_of_content_type_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.rand(20, 4)
    found = check_pool(TensorPool(features))
    assert check_pool(TensorPool(features.clone())) == found
    assert check_pool(TensorPool(features.numpy())) == found
    changed = features.clone()
    changed[13, 2] += 1e-6
    others = [
        changed,
        features.flip(0),
        features.double(),
        features.reshape(20, 2, 2),
        features[:19],
    ]
    prints = {check_pool(TensorPool(x)) for x in others}
    assert found not in prints
    assert len(prints) == len(others)


def test_equal_samples_in_two_subsets_are_refused() -> None:
    made = TensorPool(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [5.0, 6.0]]))
    check_disjoint({"train": (made, torch.tensor([0, 2])), "test": (made, torch.tensor([1, 3]))})
    with pytest.raises(
        DataError, match="sample 2 of test has the same features as a sample of train"
    ):
        check_disjoint({"train": (made, torch.tensor([0])), "test": (made, torch.tensor([1, 2]))})
    other = TensorPool(torch.tensor([[9.0, 9.0], [3.0, 4.0]]))
    with pytest.raises(DataError, match="remove duplicates"):
        check_disjoint({"train": (made, torch.tensor([1])), "test": (other, torch.tensor([0, 1]))})
