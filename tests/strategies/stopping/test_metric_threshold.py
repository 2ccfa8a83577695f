from __future__ import annotations

import math
import operator as operators
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.strategies.stopping.metric_threshold import MetricThreshold
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision

SYMBOLS = {"<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge}


class TestContract(StopCriterionContract):
    metric = "f1"

    def make(self) -> MetricThreshold:
        return MetricThreshold("f1", ">=", value=0.5)


class TestContractOfTrainLoss(StopCriterionContract):
    metric = "train_loss"

    def make(self) -> MetricThreshold:
        return MetricThreshold("train_loss", "<", value=0.5)


@given(found=st.floats(allow_nan=False), value=st.floats(-1e300, 1e300), data=st.data())
def test_stops_when_the_comparison_holds(found: float, value: float, data: st.DataObject) -> None:
    symbol = data.draw(st.sampled_from(sorted(SYMBOLS)))
    decision = MetricThreshold("f1", symbol, value=value).check(history_of([found]))
    assert decision.stop is SYMBOLS[symbol](found, value)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_nan_never_counts_as_met(symbol: str) -> None:
    decision = MetricThreshold("f1", symbol, value=0.5).check(history_of([math.nan]))
    assert decision == StopDecision(False, "f1 is NaN after 10 labels")


def test_only_the_newest_iteration_counts() -> None:
    criterion = MetricThreshold("f1", ">=", value=0.9)
    assert not criterion.check(history_of([0.95, 0.85])).stop


def test_the_reason_has_the_numbers() -> None:
    criterion = MetricThreshold("f1", ">=", value=0.9)
    reached = criterion.check(history_of([0.912], labels=320))
    assert reached == StopDecision(True, "f1 0.912 >= 0.9 after 320 labels")
    missed = criterion.check(history_of([0.85], labels=320))
    assert missed == StopDecision(False, "f1 0.85 < 0.9 after 320 labels")
    below = MetricThreshold("mse", "<", value=0.1).check(history_of([0.2], metric="mse", labels=7))
    assert below == StopDecision(False, "mse 0.2 >= 0.1 after 7 labels")


def test_an_absent_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(StrategyError, match=r"no metric named 'f2': did you mean 'f1'"):
        MetricThreshold("f2", ">", value=0.5).check(history_of([0.5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("f1", ">", math.nan), "value is a finite number, not nan"),
        (("f1", ">", math.inf), "value is a finite number, not inf"),
        (("f1", ">", "0.5"), "value is a finite number, not '0.5'"),
        (("f1", 3, 0.5), "operator is one of <, <=, >, >=, not 3"),
        (("", ">", 0.5), "metric is a name, not ''"),
    ],
)
def test_options_are_checked(options: tuple[Any, Any, Any], message: str) -> None:
    metric, operator, value = options
    with pytest.raises(ConfigurationError, match=message):
        MetricThreshold(metric, operator, value=value)


@pytest.mark.parametrize(
    ("metric", "value", "good", "bad"),
    [
        ("f1", 0.9, 0.9, 0.89),
        ("auc_pr", 0.9, 0.91, 0.89),
        ("r2", 0.9, 0.9, 0.8),
        ("mse", 0.1, 0.1, 0.11),
        ("mae", 0.1, 0.1, 0.11),
        ("log_loss", 0.1, 0.09, 0.11),
    ],
)
def test_the_operator_follows_from_the_metric(
    metric: str, value: float, good: float, bad: float
) -> None:
    criterion = MetricThreshold(metric, value=value)
    assert criterion.check(history_of([good], metric=metric)).stop
    assert not criterion.check(history_of([bad], metric=metric)).stop
    assert not criterion.check(history_of([math.nan], metric=metric)).stop


def test_an_operator_that_is_given_wins() -> None:
    assert MetricThreshold("f1", "<", value=0.5).check(history_of([0.4])).stop


def test_an_unknown_metric_needs_an_operator() -> None:
    with pytest.raises(ConfigurationError, match="unlike 'mine': set operator to one of <, <="):
        MetricThreshold("mine", value=0.5)


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="there is no operator named '=>'"):
        MetricThreshold("f1", "=>", value=0.5)
