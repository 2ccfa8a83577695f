from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.registry import components
from querist.strategies.schedules.functions import cosine, exponential, linear, step

FUNCTIONS = {"linear": linear, "exponential": exponential, "cosine": cosine, "step": step}
numbers = st.floats(-1e6, 1e6)
iterations = st.integers(0, 100_000)


def test_all_are_registered_and_documented_with_all_their_options() -> None:
    found = {c.name: c for c in components("schedule_function")}
    assert {name: found[name].factory for name in FUNCTIONS} == FUNCTIONS
    for name in FUNCTIONS:
        assert not {"iteration", "history", "_history"} & set(found[name].options)
        documentation = inspect.getdoc(found[name].factory) or ""
        assert all(f"    {option}: " in documentation for option in found[name].options)


@given(start=st.integers(-1000, 1000), slope=st.integers(-1000, 1000), iteration=iterations)
def test_linear(start: int, slope: int, iteration: int) -> None:
    assert linear(iteration, (), start=start, slope=slope) == start + slope * iteration


@given(start=numbers, factor=st.floats(0.01, 0.999), iteration=iterations)
def test_exponential(start: float, factor: float, iteration: int) -> None:
    expected = start * factor**iteration
    assert exponential(iteration, (), start=start, factor=factor) == expected


@given(start=numbers, end=numbers, length=st.integers(1, 1000), iteration=iterations)
def test_cosine(start: float, end: float, length: int, iteration: int) -> None:
    value = cosine(iteration, (), start=start, end=end, iterations=length)
    share = (1 + math.cos(math.pi * min(iteration, length) / length)) / 2
    assert value == pytest.approx(share * start + (1 - share) * end, abs=1e-6)
    assert cosine(0, (), start=start, end=end, iterations=length) == start
    assert cosine(100_000, (), start=start, end=end, iterations=length) == end


@given(start=numbers, factor=st.floats(0.1, 0.9), every=st.integers(1, 50), iteration=iterations)
def test_step(start: float, factor: float, every: int, iteration: int) -> None:
    value = step(iteration, (), start=start, factor=factor, every=every)
    assert value == start * factor ** (iteration // every)


def test_what_is_too_small_is_zero_and_what_is_too_large_infinite() -> None:
    assert exponential(100_000, (), start=0.01, factor=0.9) == 0.0
    assert exponential(100_000, (), start=8, factor=2) == math.inf
    assert exponential(100_000, (), start=-8, factor=2) == -math.inf
    assert exponential(100_000, (), start=0, factor=2) == 0.0
    assert step(100_000, (), start=8, factor=2, every=10) == math.inf


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (linear, {"start": "1", "slope": 1}, "start is a finite number, not '1'"),
        (linear, {"start": 1, "slope": math.inf}, "slope is a finite number, not inf"),
        (exponential, {"start": 1, "factor": 0}, "factor is a number above 0, not 0"),
        (exponential, {"start": 1, "factor": -0.5}, "factor is a number above 0, not -0.5"),
        (cosine, {"start": 1, "end": 0, "iterations": 0}, "iterations is a whole number of at"),
        (step, {"start": 1, "factor": 0.5, "every": 0}, "every is a whole number of at least 1"),
    ],
)
def test_options_are_checked(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        function(0, (), **options)
