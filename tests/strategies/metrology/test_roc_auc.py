from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from querist.context import MetrologyContext
from querist.strategies.metrology.roc_auc import RocAuc
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> RocAuc:
        return RocAuc()


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
    return RocAuc(**options).compute(context).values["roc_auc"]


def draw(seed: int, rows: int, classes: int, decimals: int) -> tuple[Any, Any]:
    """Targets and probabilities; few decimals make ties."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), size=rows).round(decimals)
    return random.integers(0, classes, size=rows), probabilities


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    classes=st.integers(2, 5),
    decimals=st.sampled_from([1, 6]),
)
def test_agrees_with_scikit_learn(seed: int, rows: int, classes: int, decimals: int) -> None:
    targets, probabilities = draw(seed, rows, classes, decimals)
    found = measure(targets, probabilities)
    counted = [1] if classes == 2 else range(classes)
    expected = [
        roc_auc_score(targets == c, probabilities[:, c])
        for c in counted
        if 0 < sum(t == c for t in targets) < rows
    ]
    if expected:
        assert found == pytest.approx(float(np.mean(expected)), abs=1e-12)
    else:
        assert math.isnan(found)


def test_as_scikit_learn_does_one_against_the_rest() -> None:
    targets, probabilities = draw(1, 60, 3, 6)
    probabilities /= probabilities.sum(1, keepdims=True)
    expected = roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
    assert measure(targets, probabilities) == pytest.approx(float(expected), abs=1e-12)


def test_by_hand() -> None:
    scores = torch.tensor([0.1, 0.4, 0.4, 0.8])
    both = torch.stack([1 - scores, scores], 1)
    assert measure(torch.tensor([0, 1, 0, 1]), both) == 0.875, "a tie counts half"


def test_one_class_in_the_test_set_is_nan() -> None:
    assert math.isnan(measure([1, 1], [[0.5, 0.5], [0.1, 0.9]]))


def test_a_class_without_a_sample_is_left_out() -> None:
    three = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]]
    assert measure([0, 1], three) == 1.0


def test_probabilities_that_are_nan_give_nan() -> None:
    assert math.isnan(measure([0, 1], [[math.nan, 0.5], [0.5, 0.5]]))
