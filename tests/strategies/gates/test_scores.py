from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

from querist.config.compare import CheckConfig
from querist.errors import StrategyError
from querist.registry import components
from querist.strategies.gates.scores import can_be_scored, samples, score, strategy_for
from querist.values import MetrologyRecord, Outcomes, Task
from tests.strategies.gates.test_detection import ELSEWHERE, ONE, images

SIZE = 50


def classification(classes: int = 3) -> Outcomes:
    source = torch.Generator().manual_seed(4)
    targets = torch.arange(SIZE) % classes
    logits = torch.randn(SIZE, classes, generator=source) + torch.eye(classes)[targets]
    probabilities = logits.double().softmax(1)
    return Outcomes(
        Task.CLASSIFICATION, classes, targets, probabilities.argmax(1), probabilities
    )  # fmt: skip


def regression() -> Outcomes:
    source = torch.Generator().manual_seed(5)
    targets = torch.randn(SIZE, 2, generator=source)
    return Outcomes(
        Task.REGRESSION, None, targets, targets + torch.randn(SIZE, 2, generator=source)
    )  # fmt: skip


def measured(metric: str, outcomes: Outcomes, rows: Any = None, **options: Any) -> float:
    found = score(CheckConfig(metric=metric, **options), outcomes)
    return found.of(torch.arange(samples(outcomes)) if rows is None else torch.tensor(rows))


ROWS = [0, 3, 3, 7, 10, 11, 11, 11, 20, 31, 49]


@pytest.mark.parametrize("rows", [list(range(SIZE)), ROWS])
def test_classification_as_scikit_learn_has_it(rows: list[int]) -> None:
    of = classification()
    assert of.probabilities is not None
    truth, predicted = of.targets[rows].numpy(), of.predictions[rows].numpy()
    chances = of.probabilities[rows].numpy()
    one_hot = np.eye(3)[truth]
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "f1": metrics.f1_score(truth, predicted, average="macro"),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "log_loss": metrics.log_loss(truth, chances, labels=[0, 1, 2]),
        "roc_auc": metrics.roc_auc_score(truth, chances, multi_class="ovr"),
        "precision_recall": metrics.average_precision_score(one_hot, chances),
    }
    for metric, value in expected.items():
        assert measured(metric, of, rows) == pytest.approx(value), metric
    only = metrics.average_precision_score(one_hot[:, 2], chances[:, 2])
    assert measured("precision_recall", of, rows, specific_label=2) == pytest.approx(only)


def test_regression_as_scikit_learn_has_it() -> None:
    of = regression()
    truth, predicted = of.targets[ROWS].numpy(), of.predictions[ROWS].numpy()
    expected = {
        "mse": metrics.mean_squared_error(truth, predicted),
        "rmse": metrics.root_mean_squared_error(truth, predicted),
        "mae": metrics.mean_absolute_error(truth, predicted),
        "r2": metrics.r2_score(truth, predicted),
    }
    for metric, value in expected.items():
        assert measured(metric, of, ROWS) == pytest.approx(value), metric


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier", "mse", "mae"])
def test_a_mean_says_what_it_is_the_mean_of(metric: str) -> None:
    of = regression() if metric in ("mse", "mae") else classification()
    found = score(CheckConfig(metric=metric), of)
    assert found.each is not None
    assert found.each.shape == (SIZE,)
    assert found.of(torch.tensor(ROWS)) == pytest.approx(float(found.each[ROWS].mean()))


@pytest.mark.parametrize("metric", ["f1", "rmse"])
def test_what_is_no_mean_does_not(metric: str) -> None:
    of = regression() if metric == "rmse" else classification()
    assert score(CheckConfig(metric=metric), of).each is None


def test_two_names_of_one_metric() -> None:
    of = classification()
    assert measured("ece", of) == measured("calibration_error", of)
    assert measured("average_precision", of) == measured("auc_pr", of)
    assert measured("precision_recall", of) == measured("auc_pr", of)


def test_precision_recall_of_boxes() -> None:
    of = images(([(0.9, ONE)], [ONE]), ([(0.8, ELSEWHERE)], [ONE]))
    assert samples(of) == 2
    assert measured("precision_recall", of) == 0.5
    assert measured("precision_recall", of, [0, 0, 1]) == pytest.approx(2 / 3)
    assert measured("precision_recall", of, iou_threshold=0.9, specific_label=0) == 0.5


def test_a_model_without_boxes_judges_whole_samples() -> None:
    """So the configuration that Dataloop's app shows is for classifiers, too."""
    of = classification(2)
    assert measured("precision_recall", of, iou_threshold=0.5) == measured("auc_pr", of)


@pytest.mark.parametrize(
    ("metric", "options", "outcomes", "message"),
    [
        ("latency", {}, classification(), "nobody measured how long a prediction takes"),
        ("kappa", {}, classification(), "was not measured, and cannot be computed from predic"),
        ("mse", {}, classification(), "mse measures regression"),
        ("precision_recall", {"specific_label": 3}, classification(), "label 3 is none of 3"),
        ("log_loss", {}, replace(classification(), probabilities=None), "needs probabilities"),
        ("f1", {}, Outcomes(Task.CLASSIFICATION, 2, torch.empty(0), torch.empty(0)), "is empty"),
    ],
)
def test_why_there_is_no_number(
    metric: str, options: Any, outcomes: Outcomes, message: str
) -> None:  # fmt: skip
    with pytest.raises(StrategyError, match=message):
        measured(metric, outcomes, **options)


def test_probabilities_that_are_not_finite_give_nan() -> None:
    of = classification()
    assert of.probabilities is not None
    of.probabilities[3, 1] = math.nan
    assert math.isnan(measured("precision_recall", of, specific_label=1))


def test_metrics_of_plug_ins_count_and_ours_come_first(component: Any) -> None:
    class Mine:
        measures = ("mine", "f1")

        def compute(self, context: Any) -> MetrologyRecord:
            return MetrologyRecord({"mine": float(len(context.targets)), "f1": 7.0})

    class Demanding(Mine):
        measures = ("demanding",)

        def __init__(self, level: int) -> None: ...

    component("metrology", Mine)
    component("metrology", Demanding)
    assert measured("mine", classification(), ROWS, direction="max") == len(ROWS)
    assert measured("f1", classification()) <= 1
    assert not can_be_scored("demanding"), "it needs options that a check does not have"


def test_what_metrology_has_can_be_scored() -> None:
    assert not any(map(can_be_scored, ("kappa", "overall_uncertainty", "latency", "nothing")))
    able = {"f1", "precision", "recall", "accuracy", "mse", "r2", "brier", "calibration_error"}
    assert all(map(can_be_scored, able))
    assert strategy_for("nothing") is None
    assert components("metrology")
