from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from querist.context import MetrologyContext
from querist.strategies.metrology.balanced_accuracy import BalancedAccuracy
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> BalancedAccuracy:
        return BalancedAccuracy()


class TestContractOfMoreClasses(TestContract):
    classes = 4


def measure(targets: list[int], predictions: list[int]) -> float:
    context = MetrologyContext(
        Task.CLASSIFICATION, 5, torch.tensor(targets), torch.tensor(predictions), None, 3, 0
    )
    return BalancedAccuracy().compute(context).values["balanced_accuracy"]


one = st.tuples(st.integers(0, 4), st.integers(0, 4))


@settings(deadline=None)
@given(pairs=st.lists(one, min_size=1, max_size=40))
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, predictions = map(list, zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of predicted classes that the test set does not have
        expected = balanced_accuracy_score(targets, predictions)
    assert measure(targets, predictions) == pytest.approx(float(expected), abs=1e-12)


def test_each_class_counts_alike() -> None:
    assert measure([0, 0, 0, 1], [0, 0, 0, 0]) == 0.5
