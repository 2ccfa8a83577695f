from __future__ import annotations

import math
from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.stabilizing_predictions import StabilizingPredictions
from querist.testing import StopCriterionContract, history_of


class TestContract(StopCriterionContract):
    metric = "kappa"

    def make(self) -> StabilizingPredictions:
        return StabilizingPredictions(threshold=0.5)


def stops(values: list[float], **options: Any) -> bool:
    history = history_of(values, metric="kappa")
    return StabilizingPredictions(**options).check(history).stop


def test_the_mean_over_the_window_counts() -> None:
    assert stops([math.nan, 0.985, 0.99, 0.995])
    assert not stops([math.nan, 0.98, 0.99, 0.995])
    assert stops([0.5, 0.99], window=1)
    assert not stops([0.99, 0.5], window=1)


def test_three_times_the_threshold_is_the_threshold() -> None:
    assert (0.99 + 0.99 + 0.99) / 3 < 0.99, "in floats"
    assert stops([0.99, 0.99, 0.99])


def test_the_first_iteration_has_nothing_to_compare_with() -> None:
    assert not stops([math.nan, 1.0, 1.0])
    assert stops([math.nan, 1.0, 1.0, 1.0])


def test_the_reason_has_the_numbers() -> None:
    criterion = StabilizingPredictions(threshold=0.9, window=2)
    met = criterion.check(history_of([0.9, 0.95], metric="kappa"))
    assert met.reason == "kappa 0.925, the mean of 2, >= 0.9 after 20 labels"
    missed = criterion.check(history_of([0.7, 0.9], metric="kappa"))
    assert missed.reason == "kappa 0.8, the mean of 2, < 0.9 after 20 labels"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, "threshold is a number from 0 to 1, not 1.1"),
        ({"threshold": math.nan}, "threshold is a number from 0 to 1, not nan"),
        ({"threshold": True}, "threshold is a number from 0 to 1, not True"),
        ({"window": 0}, "window is a whole number of at least 1, not 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StabilizingPredictions(**options)
