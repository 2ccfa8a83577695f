from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.schedules.per_iteration import PerIteration
from querist.testing import ScheduleContract


class TestContract(ScheduleContract):
    def make(self) -> PerIteration:
        return PerIteration({0: {"optimizer": {"lr": 0.1}}, "5": {"metrology": ["f1"]}, -1: {}})


class TestContractOfHeldSettings(ScheduleContract):
    def make(self) -> PerIteration:
        return PerIteration({0: {"optimizer": {"lr": 0.1}}, "5": {"a": [1]}}, hold=True)


def batch_sizes(schedule: PerIteration, iterations: int) -> list[Any]:
    return [schedule.settings(i, []).get("batch_size") for i in range(iterations)]


def test_the_exact_iteration_comes_first_then_every_other_then_the_base() -> None:
    settings = {1: {"batch_size": 8}, 3: {"batch_size": 16}}
    assert batch_sizes(PerIteration(settings), 5) == [None, 8, None, 16, None]
    every_other = PerIteration({**settings, -1: {"batch_size": 2}})
    assert batch_sizes(every_other, 5) == [2, 8, 2, 16, 2]


def test_held_keys_stay_in_force_until_the_next() -> None:
    settings = {1: {"batch_size": 8}, 3: {"batch_size": 16}}
    assert batch_sizes(PerIteration(settings, hold=True), 5) == [None, 8, 8, 16, 16]
    every_other = PerIteration({**settings, -1: {"batch_size": 2}}, hold=True)
    assert batch_sizes(every_other, 5) == [2, 8, 8, 16, 16]


def test_an_empty_entry_goes_back_to_the_base() -> None:
    schedule = PerIteration({0: {"batch_size": 8}, 2: {}}, hold=True)
    assert batch_sizes(schedule, 4) == [8, 8, None, None]


def test_all_overrides_are_known_from_the_start() -> None:
    schedule = PerIteration({2000: {"batch_size": 8}, -1: {"batch_size": 2}})
    assert schedule.overrides() == [{"batch_size": 2}, {"batch_size": 8}]


def test_keys_may_be_text() -> None:
    """JSON and the Prefect UI have no other keys."""
    schedule = PerIteration({"1": {"batch_size": 8}, "-1": {"batch_size": 2}})
    assert batch_sizes(schedule, 3) == [2, 8, 2]


@given(
    keys=st.sets(st.integers(0, 15), min_size=1),
    every_other=st.booleans(),
    iteration=st.integers(0, 20),
)
def test_hold_takes_the_last_key_that_was_reached(
    keys: set[int], every_other: bool, iteration: int
) -> None:
    settings: dict[int | str, Any] = {key: {"key": key} for key in keys}
    if every_other:
        settings[-1] = {"key": -1}
    found = PerIteration(settings, hold=True).settings(iteration, [])
    reached = [key for key in keys if key <= iteration]
    expected = max(reached) if reached else (-1 if every_other else None)
    assert found.get("key") == expected


@pytest.mark.parametrize("key", [-2, "-2", "one", "1.0", 1.5, True, None, "", "１"])
def test_keys_are_iterations(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"settings has iterations as keys, .* not"):
        PerIteration({key: {"batch_size": 8}})


def test_an_iteration_stands_there_once() -> None:
    with pytest.raises(ConfigurationError, match=r"iteration 3 twice, the second time as '3'"):
        PerIteration({3: {"batch_size": 8}, "3": {"batch_size": 9}})


def test_entries_are_mappings() -> None:
    with pytest.raises(ConfigurationError, match=r"settings of iteration 3 is a mapping, not 8"):
        PerIteration({3: 8})  # type: ignore[dict-item]


def test_hold_without_anything_to_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"hold has no effect when settings has only"):
        PerIteration({-1: {"batch_size": 8}}, hold=True)


def test_hold_is_true_or_false() -> None:
    with pytest.raises(ConfigurationError, match=r"hold is true or false, not 1"):
        PerIteration({1: {}}, hold=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, None, [1]])
def test_settings_is_a_mapping_with_something_in_it(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"settings is a mapping with at least one entry"):
        PerIteration(settings)
