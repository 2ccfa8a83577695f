"""The contract of a schedule."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from querist.protocols import ForeseenSchedule, Schedule
from querist.testing.stopping import history_of
from querist.testing.suite import global_randomness_untouched, run_suite
from querist.values import History

ITERATIONS = range(12)
LATE = 100_000
"""An iteration that a long run reaches."""


class ScheduleContract:
    """What every schedule keeps. Subclass it and define `make`."""

    def make(self) -> Schedule:
        """A fresh instance of the schedule."""
        raise NotImplementedError("define make(): it returns a fresh instance of the schedule")

    def _settings(self, schedule: Schedule, iteration: int, history: History) -> Mapping[str, Any]:
        settings = schedule.settings(iteration, history)
        assert isinstance(settings, Mapping), f"settings returned {settings!r}"
        assert all(isinstance(key, str) for key in settings), f"keys are text: {settings!r}"
        return settings

    def test_answers_every_iteration(self) -> None:
        """A mapping for each iteration, with and without a history."""
        for iteration in ITERATIONS:
            self._settings(self.make(), iteration, [])
            self._settings(self.make(), iteration, history_of([0.5] * iteration))

    def test_answers_late_iterations(self) -> None:
        """What it says late in a long run is finite."""
        for name, number in _numbers(self._settings(self.make(), LATE, [])):
            assert math.isfinite(number), f"in iteration {LATE} {name} is {number}"

    def test_foresees_its_settings(self) -> None:
        """One that has `overrides` says everything there that it ever changes."""
        schedule = self.make()
        if not isinstance(schedule, ForeseenSchedule):
            return
        foreseen = {path for overrides in schedule.overrides() for path in _paths(overrides)}
        for iteration in (*ITERATIONS, LATE):
            for path in _paths(self._settings(schedule, iteration, [])):
                assert path in foreseen, f"overrides does not foresee {path}"

    def test_is_pure(self) -> None:
        """The order of the questions does not matter, nor does a crash in between."""
        schedule = self.make()
        history = history_of([0.5] * len(ITERATIONS))
        untouched = copy.deepcopy(history)
        with global_randomness_untouched():
            forward = [copy.deepcopy(self._settings(schedule, i, history[:i])) for i in ITERATIONS]
        assert history == untouched, "settings changed the history"
        backward = [self._settings(schedule, i, history[:i]) for i in reversed(ITERATIONS)]
        assert forward == backward[::-1], "asked in another order it answered something else"
        fresh = [self._settings(self.make(), i, history[:i]) for i in ITERATIONS]
        assert forward == fresh, "a fresh instance answered something else"

    def test_what_it_returns_can_be_changed(self) -> None:
        """Whoever merges the overrides cannot spoil the schedule by it."""
        schedule = self.make()
        for iteration in ITERATIONS:
            first = self._settings(schedule, iteration, [])
            expected = copy.deepcopy(dict(first))
            _spoil(first)
            again = self._settings(schedule, iteration, [])
            assert dict(again) == expected, "changing an answer changed the schedule"


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _paths(settings: Mapping[str, Any]) -> list[str]:
    return [path for path, _ in _leaves(settings)]


def _numbers(settings: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(path, value) for path, value in _leaves(settings) if isinstance(value, int | float)]


def _spoil(settings: Mapping[str, Any]) -> None:
    for value in settings.values():
        if isinstance(value, MutableMapping):
            _spoil(value)
        elif isinstance(value, list):
            value.append("spoiled")
    if isinstance(settings, MutableMapping):
        settings["spoiled"] = True


def check_schedule(factory: Callable[[], Schedule]) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = ScheduleContract()
    suite.make = factory  # type: ignore[method-assign]
    run_suite(suite)
