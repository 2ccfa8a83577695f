from __future__ import annotations

import math

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.cost import Cost
from querist.testing import StopCriterionContract
from querist.values import IterationResult, StopDecision


class TestContract(StopCriterionContract):
    def make(self) -> Cost:
        return Cost(2.0)


def spent(cost: float) -> list[IterationResult]:
    return [IterationResult(0, 10), IterationResult(1, 20, labels_bought=10, label_cost=cost)]


def test_stops_at_the_budget() -> None:
    assert Cost(5).check(spent(5.0)) == StopDecision(True, "5 of 5 spent on 10 labels")
    assert Cost(5).check(spent(4.99)) == StopDecision(False, "4.99 of 5 spent on 10 labels")


def test_nan_is_never_met() -> None:
    assert Cost(0).check(spent(math.nan)) == StopDecision(False, "NaN of 0 spent on 10 labels")


def test_the_budget_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="budget is a finite number of at least 0"):
        Cost(-1.0)
