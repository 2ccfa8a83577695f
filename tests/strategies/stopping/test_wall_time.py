from __future__ import annotations

import math

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.wall_time import WallTime
from querist.testing import StopCriterionContract
from querist.values import IterationResult, StopDecision


class TestContract(StopCriterionContract):
    def make(self) -> WallTime:
        return WallTime(2.0)


def history(*seconds: float) -> list[IterationResult]:
    return [
        IterationResult(i, 10, seconds={"train": s, "query": 0.5}) for i, s in enumerate(seconds)
    ]


def test_all_phases_of_all_iterations_count() -> None:
    assert WallTime(4.0).check(history(1.0, 2.0)) == StopDecision(True, "4.0 of 4 seconds")
    assert WallTime(4.1).check(history(1.0, 2.0)) == StopDecision(False, "4.0 of 4.1 seconds")


def test_nan_is_never_met() -> None:
    assert WallTime(0.0).check(history(1.0, math.nan)) == StopDecision(False, "NaN of 0 seconds")


def test_seconds_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="seconds is a finite number of at least 0"):
        WallTime(-1.0)
