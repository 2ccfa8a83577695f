from __future__ import annotations

import math

import pytest

from querist.errors import StrategyError
from querist.strategies.stopping.window import all_at_most, window_of
from querist.testing import history_of
from querist.values import IterationResult


def test_the_newest_values_oldest_first() -> None:
    found = window_of(history_of([0.1, 0.2, 0.3]), "f1", 2)
    assert list(map(float, found.values)) == [0.2, 0.3]
    assert (found.labels, found.flaw) == (30, "")


def test_iterations_that_did_not_measure_are_passed_over() -> None:
    history = history_of([0.1, 0.2, 0.3])
    history[1] = IterationResult(1, 20)
    assert list(map(float, window_of(history, "f1", 2).values)) == [0.1, 0.3]


@pytest.mark.parametrize(
    ("values", "flaw"),
    [
        ([], "no iteration yet"),
        ([0.1], "f1 is measured in 1 of 2 iterations"),
        ([math.nan, 0.1], "f1 is NaN in iteration 0"),
        ([0.1, 0.1, math.nan], "f1 is NaN in iteration 2"),
        ([0.1, -math.inf], "f1 is infinite in iteration 1"),
    ],
)
def test_what_cannot_be_judged_is_said(values: list[float], flaw: str) -> None:
    assert window_of(history_of(values), "f1", 2).flaw == flaw
    decision = all_at_most(history_of(values), "f1", threshold=1.0, window=2)
    assert (decision.stop, decision.reason) == (False, flaw)


def test_nan_before_the_window_is_forgotten() -> None:
    assert window_of(history_of([math.nan, 0.1, 0.2]), "f1", 2).flaw == ""


def test_the_newest_iteration_must_have_measured_it() -> None:
    with pytest.raises(StrategyError, match="no metric named 'f1'"):
        window_of([*history_of([0.1, 0.2]), IterationResult(2, 30)], "f1", 2)


def test_each_value_counts() -> None:
    assert all_at_most(history_of([0.9, 0.1, 0.1]), "f1", threshold=0.1, window=2).stop
    assert not all_at_most(history_of([0.2, 0.0]), "f1", threshold=0.1, window=2).stop
