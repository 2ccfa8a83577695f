from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.stopping.plateau import Plateau
from querist.testing import StopCriterionContract, history_of
from querist.values import IterationResult


class TestContract(StopCriterionContract):
    metric = "f1"

    def make(self) -> Plateau:
        return Plateau("f1", patience=2)


class TestContractOfTrainLoss(StopCriterionContract):
    metric = "train_loss"

    def make(self) -> Plateau:
        return Plateau("train_loss", patience=2)


def stops_at(values: list[float], **options: Any) -> int | None:
    """The length of the history at which it first stops."""
    metric = options.pop("metric", "f1")
    criterion = Plateau(metric, **options)
    history = history_of(values, metric=metric)
    for length in range(len(history) + 1):
        if criterion.check(history[:length]).stop:
            return length
    return None


def test_stops_after_patience_iterations_without_a_better_one() -> None:
    assert stops_at([0.5, 0.6, 0.6, 0.55, 0.7], patience=2) == 4
    assert stops_at([0.5, 0.6, 0.6, 0.7, 0.55], patience=2) is None


def test_the_best_counts_and_not_the_one_before() -> None:
    """Each value is better than the one before it, and none better than the first."""
    assert stops_at([0.9, 0.1, 0.2, 0.3], patience=3) == 4


def test_a_gain_of_min_delta_is_none() -> None:
    assert stops_at([0.7, 0.8, 0.7], patience=2, min_delta=0.1) == 3
    assert stops_at([0.7, 0.8001, 0.7], patience=2, min_delta=0.1) is None


def test_small_gains_add_up() -> None:
    """The best stays at 0.5 until something beats it by more than min_delta."""
    assert stops_at([0.5, 0.54, 0.58, 0.61], patience=3, min_delta=0.1) is None


def test_lower_is_better_for_losses() -> None:
    assert stops_at([0.5, 0.4, 0.3, 0.2], metric="mse", patience=1) is None
    assert stops_at([0.2, 0.3], metric="mse", patience=1) == 2
    assert stops_at([0.5, 0.4], metric="mse", patience=1, direction="max") == 2


def test_nan_is_no_improvement() -> None:
    assert stops_at([0.5, math.nan, 0.4], patience=2) == 3
    assert stops_at([math.nan, 0.5, 0.6], patience=2) is None
    assert stops_at([math.nan, math.inf], patience=2) == 2


def test_nan_itself_stops_nothing() -> None:
    assert stops_at([0.5, math.nan, math.nan, 0.9], patience=2) is None
    assert stops_at([math.nan] * 5, patience=1) is None


def test_iterations_without_the_metric_do_not_count() -> None:
    history = history_of([0.5, 0.4, 0.4])
    history[1] = IterationResult(1, 20)
    assert not Plateau("f1", patience=2).check(history).stop
    assert Plateau("f1", patience=1).check(history).stop


def test_the_newest_iteration_needs_the_metric() -> None:
    with pytest.raises(StrategyError, match=r"no metric named 'f1': known are: none"):
        Plateau("f1").check([*history_of([0.5]), IterationResult(1, 20)])


def test_the_reason_has_the_numbers() -> None:
    history = history_of([0.5, 0.8, 0.75])
    assert Plateau("f1", patience=2).check(history).reason == (
        "f1 0.8 of iteration 1 not bettered for 1 of 2 iterations"
    )
    assert Plateau("f1", patience=1, min_delta=0.01).check(history).reason == (
        "f1 0.8 of iteration 1 not bettered by more than 0.01 for 1 of 1 iterations"
    )
    assert Plateau("f1", patience=1).check(history_of([math.nan])).reason == (
        "f1 is NaN after 10 labels; f1 has never been finite for 1 of 1 iterations"
    )


@given(values=st.lists(st.integers(0, 20), min_size=1, max_size=30), patience=st.integers(1, 5))
def test_stops_iff_the_best_is_older_than_patience(values: list[int], patience: int) -> None:
    history = history_of([float(v) for v in values])
    first_best = values.index(max(values))
    expected = len(values) - 1 - first_best >= patience
    assert Plateau("f1", patience=patience).check(history).stop is expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "f1", "patience": 0}, "patience is a whole number of at least 1, not 0"),
        ({"metric": "f1", "min_delta": -0.1}, "min_delta is a finite number of at least 0, not"),
        ({"metric": "auc"}, "direction 'auto' knows .* not 'auc': set direction to max or min"),
        ({"metric": 3}, "metric is a name, not 3"),
        ({"metric": "f1", "direction": "up"}, "direction is one of auto, max, min, not 'up'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Plateau(**options)
