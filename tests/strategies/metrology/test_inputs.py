from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.strategies.metrology.inputs import (
    class_predictions,
    class_probabilities,
    number_predictions,
)
from querist.values import Task


def context(task: Task, targets: torch.Tensor, predictions: torch.Tensor) -> MetrologyContext:
    classes = 3 if task is Task.CLASSIFICATION else None
    return MetrologyContext(task, classes, targets, predictions, None, 5, 2)


def test_numbers_become_columns_of_double_precision() -> None:
    targets, predictions = number_predictions(
        context(Task.REGRESSION, torch.ones(4), torch.zeros(4)), "mse"
    )
    assert targets.shape == predictions.shape == (4, 1)
    assert targets.dtype == predictions.dtype == torch.float64


def test_classes_become_int64() -> None:
    small = torch.tensor([0, 2], dtype=torch.uint8)
    targets, predictions = class_predictions(context(Task.CLASSIFICATION, small, small), "f1")
    assert targets.dtype == predictions.dtype == torch.int64


def test_the_wrong_task_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"f1 measures classification, .* task is regression"):
        class_predictions(context(Task.REGRESSION, torch.ones(2), torch.ones(2)), "f1")
    whole = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(StrategyError, match=r"mae measures regression, .* task is classification"):
        number_predictions(context(Task.CLASSIFICATION, whole, whole), "mae")


def test_unequal_shapes_are_refused_instead_of_broadcast() -> None:
    column = context(Task.REGRESSION, torch.ones(4), torch.ones(4, 1))
    message = "mse needs predictions shaped like the targets (4,), not (4, 1)"
    with pytest.raises(StrategyError, match=re.escape(message)):
        number_predictions(column, "mse")


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0), ()])
def test_nothing_to_measure_on_is_refused(shape: tuple[int, ...]) -> None:
    empty = context(Task.REGRESSION, torch.ones(shape), torch.ones(shape))
    with pytest.raises(StrategyError, match=r"mse needs at least one test sample.*data.split.test"):
        number_predictions(empty, "mse")


@pytest.mark.parametrize(
    ("targets", "predictions", "what"),
    [
        ([0, 3], [0, 1], "targets"),
        ([0, 1], [0, -1], "predictions"),
        ([0, 1], [0.5, 0.5], "predictions"),
        ([[0], [1]], [[0], [1]], "targets"),
    ],
)
def test_what_is_no_class_is_refused(targets: list[Any], predictions: list[Any], what: str) -> None:
    wrong = context(Task.CLASSIFICATION, torch.tensor(targets), torch.tensor(predictions))
    message = f"f1 needs {what} that are class indices \\(m,\\) from 0 to 2, not "
    with pytest.raises(StrategyError, match=message):
        class_predictions(wrong, "f1")


def test_probabilities_are_as_the_learner_gave_them() -> None:
    whole = torch.tensor([0, 2])
    asked = replace(context(Task.CLASSIFICATION, whole, whole), probabilities=torch.ones(2, 3) / 3)
    targets, probabilities = class_probabilities(asked, "brier")
    assert targets.dtype == torch.int64
    assert probabilities is asked.probabilities


@pytest.mark.parametrize("probabilities", [None, torch.ones(2, 2), torch.ones(3, 3)])
def test_probabilities_of_another_shape_are_refused(probabilities: Any) -> None:
    whole = torch.tensor([0, 2])
    asked = replace(context(Task.CLASSIFICATION, whole, whole), probabilities=probabilities)
    with pytest.raises(StrategyError, match=r"brier needs probabilities of shape \(2, 3\), not"):
        class_probabilities(asked, "brier")
