from __future__ import annotations

import math

import pytest
import torch

from querist.errors import ConfigurationError, DataError, StrategyError
from querist.pools import CombinedPool, TensorPool
from querist.requests import LabelRequest
from querist.strategies.label.oracle import Oracle
from querist.testing import LabelStrategyContract
from querist.values import Label


class TestContract(LabelStrategyContract):
    def make(self) -> Oracle:
        return Oracle()


class BarePool:
    """Targets as they are, without the checks of a TensorPool."""

    classes = None

    def __init__(self, targets: torch.Tensor) -> None:
        self._targets = targets

    def __len__(self) -> int:
        return 4

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(indices), 1)

    def targets(self, indices: torch.Tensor) -> torch.Tensor:
        return self._targets


def ask(pool: object, *indices: int, **options: object) -> list[Label]:
    keys = tuple(map(str, indices))
    request = LabelRequest(0, torch.tensor(indices, dtype=torch.int64), keys, pool)  # type: ignore[arg-type]
    return list(Oracle(**options).label(request))  # type: ignore[arg-type]


def test_classes_become_ints_in_the_order_asked() -> None:
    labels = ask(TensorPool(torch.zeros(4, 1), torch.tensor([0, 1, 2, 1])), 2, 0, 3)
    assert labels == [Label(2, 2, "oracle"), Label(0, 0, "oracle"), Label(3, 1, "oracle")]
    assert all(type(label.value) is int for label in labels)


def test_numbers_become_floats() -> None:
    labels = ask(TensorPool(torch.zeros(2, 1), torch.tensor([0.5, 2.0])), 1, 0)
    assert [label.value for label in labels] == [2.0, 0.5]
    assert all(type(label.value) is float for label in labels)


def test_vectors_become_lists_of_floats() -> None:
    labels = ask(TensorPool(torch.zeros(2, 1), torch.tensor([[0.5, 1.0], [2.0, 3.0]])), 1)
    assert labels[0].value == [2.0, 3.0]


def test_true_and_false_become_classes() -> None:
    labels = ask(BarePool(torch.tensor([True, False])), 0, 1)
    assert [label.value for label in labels] == [1, 0]
    assert all(type(label.value) is int for label in labels)


def test_annotator_and_cost_are_those_of_the_options() -> None:
    pool = TensorPool(torch.zeros(1, 1), torch.tensor([0]))
    assert ask(pool, 0, annotator="ada", cost=2.5) == [Label(0, 0, "ada", 2.5)]


def test_a_pool_that_hides_nothing_is_refused() -> None:
    for pool in (TensorPool(torch.zeros(1, 1)), CombinedPool(TensorPool(torch.zeros(1, 1)))):
        with pytest.raises(StrategyError, match="the oracle needs a pool that knows its labels"):
            ask(pool, 0)


def test_a_pool_without_targets_is_refused() -> None:
    class Features:
        classes = 2

        def __len__(self) -> int:
            return 1

        def features(self, indices: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(indices), 1)

    with pytest.raises(StrategyError, match="give it a `targets` method"):
        ask(Features(), 0)


def test_samples_that_were_made_have_no_truth() -> None:
    pool = CombinedPool(TensorPool(torch.zeros(2, 1), torch.tensor([0, 1])))
    made = pool.add(torch.ones(1))
    with pytest.raises(DataError, match="samples that were made on the way"):
        ask(pool, 0, made)


@pytest.mark.parametrize(
    "targets",
    [
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(2, 2, dtype=torch.int64),
        torch.zeros(2, 2, 2),
        torch.zeros(2, dtype=torch.complex64),
    ],
)
def test_targets_of_the_wrong_shape_are_refused(targets: torch.Tensor) -> None:
    with pytest.raises(StrategyError, match="the truth of 2 samples is") as caught:
        ask(BarePool(targets), 0, 1)
    assert str(tuple(targets.shape)) in str(caught.value)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, "1", True])
def test_a_cost_is_a_finite_number(cost: object) -> None:
    with pytest.raises(ConfigurationError, match="cost is a finite number of at least 0, not"):
        Oracle(cost=cost)  # type: ignore[arg-type]


@pytest.mark.parametrize("annotator", ["", "  ", 3])
def test_an_annotator_has_a_name(annotator: object) -> None:
    with pytest.raises(ConfigurationError, match="annotator is a name, not"):
        Oracle(annotator=annotator)  # type: ignore[arg-type]
