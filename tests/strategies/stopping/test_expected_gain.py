from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.expected_gain import ExpectedGain
from querist.testing import StopCriterionContract, history_of
from querist.values import IterationResult


class TestContract(StopCriterionContract):
    metric = "f1"

    def make(self) -> ExpectedGain:
        return ExpectedGain("f1", 100.0)


class TestContractOfAPrice(StopCriterionContract):
    metric = "mse"

    def make(self) -> ExpectedGain:
        return ExpectedGain("mse", 0.001, cost_per_label=1.0)


def stops(values: list[float], value: float, metric: str = "f1", **options: Any) -> bool:
    history = history_of(values, metric=metric)
    return ExpectedGain(metric, value, **options).check(history).stop


def test_a_gain_below_the_cost_stops() -> None:
    """0.01 a label, worth 1 at 100 a point."""
    assert not stops([0.1, 0.2, 0.3], 100, cost_per_label=0.99)
    assert stops([0.1, 0.2, 0.3], 100, cost_per_label=1.01)


def test_a_gain_that_is_its_cost_does_not() -> None:
    assert (0.9 - 0.8) / 10 * 100 < 1, "in floats"
    assert not stops([0.8, 0.9], 100, cost_per_label=1, window=2)


def test_the_slope_is_that_of_least_squares() -> None:
    """By hand: labels 10, 20, 30; f1 0, 0.3, 0.3 have the slope 0.015."""
    criterion = ExpectedGain("f1", 1, cost_per_label=1)
    assert criterion.check(history_of([0.0, 0.3, 0.3])).reason == (
        "a label is expected to gain 0.015 f1, worth 0.015, below its cost 1 after 30 labels"
    )


def test_only_the_window_counts() -> None:
    assert not stops([0.0, 0.0, 0.5, 1.0], 100, cost_per_label=1)
    assert stops([0.0, 0.9, 0.9, 0.9], 100, cost_per_label=1)


def test_getting_worse_is_no_gain() -> None:
    assert stops([0.9, 0.8, 0.7], 100, cost_per_label=0.01)
    assert not stops([0.9, 0.8, 0.7], 100, cost_per_label=0.0), "what is free may be worth nothing"


def test_lower_is_better_for_losses() -> None:
    assert not stops([0.3, 0.2, 0.1], 100, "mse", cost_per_label=0.5)
    assert stops([0.1, 0.2, 0.3], 100, "mse", cost_per_label=0.5)
    assert stops([0.3, 0.2, 0.1], 100, "mse", cost_per_label=0.5, direction="max")


def test_the_cost_is_what_labels_cost_so_far() -> None:
    history = [
        replace(result, labels_bought=10 * i, label_cost=20.0 * i)
        for i, result in enumerate(history_of([0.1, 0.2, 0.3]))
    ]
    assert not ExpectedGain("f1", 200).check(history).stop
    assert ExpectedGain("f1", 199).check(history).stop


def test_an_unknown_cost_is_said() -> None:
    history = history_of([0.3, 0.3, 0.3])
    unknown = ExpectedGain("f1", 1).check(history)
    assert (unknown.stop, unknown.reason) == (
        False, "what a label costs is not known: none was bought",
    )  # fmt: skip
    history[-1] = replace(history[-1], labels_bought=5, label_cost=math.nan)
    assert "NaN" in ExpectedGain("f1", 1).check(history).reason


def test_no_label_is_no_slope() -> None:
    history = [IterationResult(i, 10, {"f1": 0.5}) for i in range(3)]
    decision = ExpectedGain("f1", 1, cost_per_label=1).check(history)
    assert (decision.stop, decision.reason) == (False, "no label came in 3 iterations")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "mine"}, "direction 'auto' knows .* not 'mine'"),
        ({"metric": "f1", "window": 1}, "window is a whole number of at least 2, not 1"),
        ({"metric": "f1", "cost_per_label": -1}, "cost_per_label is a finite number of at least 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ExpectedGain(value_per_point=1.0, **options)
