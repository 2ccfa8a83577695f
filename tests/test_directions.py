from __future__ import annotations

from decimal import Decimal

import pytest

from querist.directions import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Direction,
    direction_of,
    gain,
)
from querist.errors import ConfigurationError
from querist.registry import components


@pytest.mark.parametrize("metric", [
    "f1", "accuracy", "balanced_accuracy", "precision", "recall", "r2", "roc_auc", "auc_pr",
    "mcc", "matthews", "kappa", "precision_recall",
])  # fmt: skip
def test_higher_is_better(metric: str) -> None:
    assert direction_of(metric) is Direction.MAX


@pytest.mark.parametrize("metric", [
    "mse", "rmse", "mae", "log_loss", "brier", "ece", "max_error", "loss", "train_loss",
    "validation_loss", "classification_change", "overall_uncertainty", "delta_f",
    "calibration_error", "latency",
])  # fmt: skip
def test_lower_is_better(metric: str) -> None:
    assert direction_of(metric) is Direction.MIN


def test_every_metric_of_ours_has_a_direction() -> None:
    ours = {
        c.name: c.factory.measures  # type: ignore[attr-defined]
        for c in components("metrology")
        if c.factory.__module__.startswith("querist.strategies.metrology")
        and c.name not in ("callable", "command")  # they measure what a user's code says
    }
    assert {"f1", "accuracy", "mse", "mae", "r2"} <= set(ours)
    known = HIGHER_IS_BETTER | LOWER_IS_BETTER
    assert {metric for metrics in ours.values() for metric in metrics} <= known


def test_an_unknown_metric_needs_a_direction() -> None:
    with pytest.raises(ConfigurationError, match="not 'auc': set direction to max or min"):
        direction_of("auc")
    assert direction_of("auc", "max") is Direction.MAX


def test_a_given_direction_wins() -> None:
    assert direction_of("f1", "min") is Direction.MIN


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="one of auto, max, min, not 'maximum'"):
        direction_of("f1", "maximum")


def test_gain_is_exact_in_the_numbers_as_written() -> None:
    assert 0.8 - 0.7 > 0.1, "in floats"
    assert gain(new=0.8, old=0.7, direction=Direction.MAX) == Decimal("0.1")
    assert gain(new=0.7, old=0.8, direction=Direction.MIN) == Decimal("0.1")
    assert gain(new=0.7, old=0.8, direction=Direction.MAX) == Decimal("-0.1")
