from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from querist.context import MetrologyContext
from querist.strategies.metrology.brier import Brier
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> Brier:
        return Brier()


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
    return Brier(**options).compute(context).values["brier"]


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
    expected = brier_score_loss(
        targets, probabilities[:, 1] if classes == 2 else probabilities, labels=range(classes)
    )
    assert measure(targets, probabilities) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_by_hand() -> None:
    assert measure([1, 0], [[0.2, 0.8], [0.5, 0.5]]) == pytest.approx((0.04 + 0.25) / 2)
    assert measure([2], [[0.5, 0.5, 0.0]]) == 1.5


def test_probabilities_that_are_nan_give_nan() -> None:
    assert math.isnan(measure([0, 1], [[math.nan, math.nan], [0.5, 0.5]]))
