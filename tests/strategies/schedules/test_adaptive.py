from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from querist import registry
from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.registry import Registered
from querist.strategies.schedules.adaptive import Adaptive
from querist.testing import ScheduleContract, history_of
from querist.values import History


class TestContract(ScheduleContract):
    def make(self) -> Adaptive:
        return Adaptive(
            {
                "batch_size": {"function": "exponential", "start": 8, "factor": 2, "cap": 64},
                "optimizer.options.lr": {"function": "exponential", "start": 0.01, "factor": 0.9},
                "optimizer.options.momentum": {
                    "function": "cosine", "start": 0.9, "end": 0.5, "iterations": 4,
                },
                "max_training_epochs": {"function": "step", "start": 8, "factor": 0.5, "every": 3},
                "fine_tuning_lr": {"function": "linear", "start": 1, "slope": 1},
            }
        )  # fmt: skip


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Registers a function for the test only."""
    registry.components()

    def add(factory: Any) -> str:
        registered = Registered("schedule_function", "own", factory)
        monkeypatch.setitem(registry._components["schedule_function"], "own", registered)
        return "own"

    return add


def values(spec: dict[str, Any], *iterations: int, history: History = ()) -> list[Any]:
    schedule = Adaptive({"a": spec})
    return [schedule.settings(i, history)["a"] for i in iterations]


def test_dotted_paths_become_nested_overrides() -> None:
    lr = {"function": "exponential", "start": 0.01, "factor": 0.9}
    momentum = {"function": "linear", "start": 0.5, "slope": 0.1}
    schedule = Adaptive({"o.options.lr": lr, "o.options.momentum": momentum, "n": momentum})
    assert schedule.settings(2, ()) == {
        "o": {"options": {"lr": 0.01 * 0.9**2, "momentum": 0.7}},
        "n": 0.7,
    }


@pytest.mark.parametrize(
    "function", [{"function": "exponential", "factor": 0.5}, {"function": "linear", "slope": -1},
                 {"function": "cosine", "end": 0, "iterations": 9},
                 {"function": "step", "factor": 0.5, "every": 1}],
)  # fmt: skip
def test_every_function_has_a_floor_and_a_cap(function: dict[str, Any]) -> None:
    spec = {**function, "start": 8, "floor": 2.5, "cap": 6}
    assert values(spec, 0, 9, 100_000) == [6, 2.5, 2.5]


def test_iteration_100_000_is_exact_and_finite() -> None:
    exponential = {"function": "exponential", "start": 0.01}
    assert values({**exponential, "factor": 0.9}, 100_000) == [0.0]
    assert values({**exponential, "factor": 0.9, "floor": 1e-5}, 100_000) == [1e-5]
    assert values({**exponential, "factor": 2, "cap": 64}, 100_000) == [64]
    assert values({**exponential, "factor": 0.99999}, 100_000) == [0.01 * 0.99999**100_000]
    assert values({"function": "linear", "start": 100, "slope": 50}, 100_000) == [5_000_100]


def test_a_value_that_is_not_finite_needs_a_cap() -> None:
    with pytest.raises(ConfigurationError, match=r"a is a finite number, not inf as 'exponential'"):
        values({"function": "exponential", "start": 1, "factor": 2}, 100_000)


def test_whole_rounds() -> None:
    spec = {"function": "linear", "start": 1, "slope": 0.4, "whole": True}
    assert values(spec, 0, 1, 2) == [1, 1, 2]
    assert all(type(value) is int for value in values(spec, 0, 1, 2))


def test_a_function_of_ones_own_sees_the_history(function: Any) -> None:
    def slower(iteration: int, history: History, start: float, by: float = 0.5) -> float:
        return start * by ** sum(result.metrics["f1"] > 0.5 for result in history)

    spec = {"function": function(slower), "start": 0.1}
    assert values(spec, 3, history=history_of([0.4, 0.6, 0.7], metric="f1")) == [0.1 * 0.5**2]


@pytest.mark.parametrize("wrong", [None, True, "0.1", [1]])
def test_a_function_returns_a_number(wrong: Any, function: Any) -> None:
    with pytest.raises(StrategyError, match=r"'own' of a returns a number, not"):
        values({"function": function(lambda iteration, history: wrong)}, 0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_function_returns_a_finite_number(wrong: float, function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a is a finite number, not .* in iteration 7"):
        values({"function": function(lambda iteration, history: wrong)}, 7)


def test_nan_is_not_bounded(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a is a finite number, not nan"):
        values({"function": function(lambda *_: math.nan), "floor": 0, "cap": 1}, 0)


def test_what_a_function_raises_says_where(function: Any) -> None:
    with pytest.raises(StrategyError, match=r"'own' of a raised IndexError in iteration 0 .*empty"):
        values({"function": function(lambda iteration, history: history[-1].labels)}, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "settings is a mapping with at least one entry"),
        ({"a": 3}, "a needs a function, unlike 3"),
        ({"a": {"start": 3}}, "a needs a function"),
        ({"a": {"function": 3}}, "function is a name, not 3"),
        ({"a..b": {"function": "linear", "start": 1, "slope": 1}}, "is a dotted path"),
        ({"a": {"function": "linear", "start": 1}}, "'linear' needs the option 'slope'"),
        ({"a": {"function": "os:system"}}, "importing from 'os' is not allowed"),
        ({"a": {"function": "linear", "start": 1, "slope": 1, "floor": 2, "cap": 1}},
         "floor of a is at most its cap 1, not 2"),
        ({"a": {"function": "linear", "start": 1, "slope": 1, "cap": "1"}}, "cap is a finite"),
        ({"a": {"function": "linear", "start": 1, "slope": 1, "whole": 1}}, "whole is true or"),
        ({"a": {"function": "linear", "start": 1, "slope": 1},
          "a.b": {"function": "linear", "start": 1, "slope": 1}}, "'a' and 'a.b', which is inside"),
    ],
)  # fmt: skip
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Adaptive(settings)


@pytest.mark.parametrize(
    ("spec", "suggestion"),
    [
        ({"function": "linaer"}, "'linear'"),
        ({"function": "linear", "start": 1, "slop": 1}, "'slope'"),
        ({"function": "linear", "start": 1, "slope": 1, "flor": 1}, "'floor'"),
        ({"function": "linear", "start": 1, "slope": 1, "iteration": 1}, "known are|did you mean"),
    ],
)
def test_unknown_names_suggest_the_nearest(spec: dict[str, Any], suggestion: str) -> None:
    with pytest.raises(UnknownNameError, match=suggestion):
        Adaptive({"a": spec})
