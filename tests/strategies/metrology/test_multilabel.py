from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, hamming_loss

from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.registry import build
from querist.strategies.metrology.multilabel import F1Macro, F1Micro, HammingLoss, SubsetAccuracy
from querist.testing import MetrologyStrategyContract
from querist.values import Task

REFERENCES = {
    "f1_micro": lambda t, p: f1_score(t, p, average="micro", zero_division=0),
    "f1_macro": lambda t, p: f1_score(t, p, average="macro", zero_division=0),
    "subset_accuracy": accuracy_score,
    "hamming_loss": hamming_loss,
}


class TestContractOfF1Micro(MetrologyStrategyContract):
    tasks = (Task.MULTILABEL,)

    def make(self) -> F1Micro:
        return F1Micro()


class TestContractOfF1Macro(MetrologyStrategyContract):
    tasks = (Task.MULTILABEL,)

    def make(self) -> F1Macro:
        return F1Macro()


class TestContractOfSubsetAccuracy(MetrologyStrategyContract):
    tasks = (Task.MULTILABEL,)

    def make(self) -> SubsetAccuracy:
        return SubsetAccuracy()


class TestContractOfHammingLoss(MetrologyStrategyContract):
    tasks = (Task.MULTILABEL,)

    def make(self) -> HammingLoss:
        return HammingLoss()


def measure(metric: str, targets: Any, predictions: Any) -> float:
    tensors = [torch.tensor(np.asarray(v), dtype=torch.float64) for v in (targets, predictions)]
    context = MetrologyContext(Task.MULTILABEL, None, tensors[0], tensors[1], None, 3, 0)
    return float(build("metrology", metric, {}).compute(context).values[metric])


@pytest.mark.parametrize("metric", REFERENCES)
@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 12), labels=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_agrees_with_scikit_learn(metric: str, rows: int, labels: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    targets, predictions = (drawn.integers(0, 2, (rows, labels)) for _ in range(2))
    expected = REFERENCES[metric](targets, predictions)
    assert measure(metric, targets, predictions) == pytest.approx(expected, abs=1e-12)


def test_nothing_there_and_nothing_found_is_no_f1() -> None:
    assert measure("f1_micro", [[0, 0]], [[0, 0]]) == 0.0
    assert measure("f1_macro", [[0, 1]], [[0, 1]]) == 0.5
    assert measure("subset_accuracy", [[0, 0]], [[0, 0]]) == 1.0


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(StrategyError, match="predictions .* that are 0 or 1, not .* to 0.4"):
        measure("f1_micro", [[0, 1]], [[0, 0.4]])


def test_classes_are_pointed_to_their_own_metrics() -> None:
    classes = torch.tensor([0, 1])
    context = MetrologyContext(Task.CLASSIFICATION, 2, classes, classes, None, 3, 0)
    with pytest.raises(StrategyError, match="task is classification: use f1 or accuracy"):
        F1Micro().compute(context)
