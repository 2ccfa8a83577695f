from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from querist.context import MetrologyContext
from querist.strategies.metrology.log_loss import LogLoss
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> LogLoss:
        return LogLoss()


class TestContractOfMoreClasses(TestContract):
    classes = 4


def measure(targets: Any, probabilities: Any, **options: int) -> float:
    probabilities = torch.as_tensor(probabilities)
    context = MetrologyContext(
        Task.CLASSIFICATION,
        probabilities.shape[1],
        torch.as_tensor(targets),
        probabilities.argmax(1),
        probabilities,
        3,
        0,
    )
    return LogLoss(**options).compute(context).values["log_loss"]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    classes=st.integers(2, 5),
)
def test_agrees_with_scikit_learn(seed: int, rows: int, classes: int) -> None:
    """Classes that no test sample has included."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), size=rows)
    targets = random.integers(0, classes, size=rows)
    expected = log_loss(targets, probabilities, labels=range(classes))
    assert measure(targets, probabilities) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_the_edges_are_those_of_the_learners_precision() -> None:
    sure = [[1.0, 0.0], [0.0, 1.0]]
    for kind in (torch.float32, torch.float64):
        probabilities = torch.tensor(sure, dtype=kind)
        expected = log_loss([1, 1], probabilities.numpy(), labels=[0, 1])
        assert measure([1, 1], probabilities) == pytest.approx(expected, rel=1e-6)
        assert math.isfinite(measure([1, 1], probabilities))


def test_probabilities_that_are_nan_give_nan() -> None:
    assert math.isnan(measure([0, 1], [[math.nan, 0.5], [0.5, 0.5]]))
