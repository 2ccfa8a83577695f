"""The contract of a schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from querist.protocols import Schedule
from querist.testing.stopping import history_of
from querist.testing.suite import global_randomness_untouched, run_suite
from querist.values import History

ITERATIONS = range(12)


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
