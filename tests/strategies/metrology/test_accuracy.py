from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from querist.context import MetrologyContext
from querist.strategies.metrology.accuracy import Accuracy
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)
    classes = 3

    def make(self) -> Accuracy:
        return Accuracy()


def measure(targets: list[int], predictions: list[int]) -> float:
    context = MetrologyContext(
        Task.CLASSIFICATION, 4, torch.tensor(targets), torch.tensor(predictions), None, 3, 0
    )
    return Accuracy().compute(context).values["accuracy"]


def test_is_the_share_that_is_right() -> None:
    assert measure([0, 1, 2, 3], [0, 1, 2, 2]) == 0.75
    assert measure([0, 1], [1, 0]) == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, predictions = map(list, zip(*pairs, strict=True))
    expected = accuracy_score(np.array(targets), np.array(predictions))
    assert measure(targets, predictions) == pytest.approx(expected, abs=1e-12)
