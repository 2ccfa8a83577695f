from __future__ import annotations

import math
from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.classification_change import ClassificationChange
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision


class TestContract(StopCriterionContract):
    metric = "classification_change"

    def make(self) -> ClassificationChange:
        return ClassificationChange(threshold=0.9)


def stops(values: list[float], **options: Any) -> bool:
    history = history_of(values, metric="classification_change")
    return ClassificationChange(**options).check(history).stop


def test_stops_as_in_the_paper() -> None:
    assert stops([0.5, 0.0])
    assert not stops([0.0, 0.001])


def test_each_iteration_of_the_window_counts() -> None:
    assert stops([0.3, 0.1, 0.1], threshold=0.1, window=2)
    assert not stops([0.1, 0.3, 0.1], threshold=0.1, window=2)


def test_nan_is_not_small() -> None:
    assert not stops([0.0, 0.0, math.nan], threshold=1.0)


def test_the_reason_has_the_numbers() -> None:
    criterion = ClassificationChange(threshold=0.1, window=1)
    history = history_of([0.25], metric="classification_change")
    assert criterion.check(history) == StopDecision(
        False, "classification_change 0.25 > 0.1 after 10 labels"
    )
    pair = history_of([0.05, 0.1], metric="classification_change")
    assert ClassificationChange(threshold=0.1, window=2).check(pair) == StopDecision(
        True, "classification_change 0.1, the highest of 2, <= 0.1 after 20 labels"
    )


@pytest.mark.parametrize("options", [{"threshold": -0.1}, {"threshold": "0"}, {"window": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} is a"):
        ClassificationChange(**options)
