from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.schedules.static import Static
from querist.testing import ScheduleContract


class TestContract(ScheduleContract):
    def make(self) -> Static:
        return Static({"optimizer": {"options": {"lr": 0.1}}, "metrology": ["f1"]})


def test_is_the_same_in_every_iteration() -> None:
    schedule = Static({"batch_size": 32})
    assert [dict(schedule.settings(i, [])) for i in (0, 1, 99)] == [{"batch_size": 32}] * 3


def test_does_not_follow_changes_of_what_it_was_built_from() -> None:
    given: dict[str, Any] = {"optimizer": {"lr": 0.1}}
    schedule = Static(given)
    given["optimizer"]["lr"] = 9.0
    assert schedule.settings(0, []) == {"optimizer": {"lr": 0.1}}


@pytest.mark.parametrize("settings", [{}, None, [], "batch_size"])
def test_settings_is_a_mapping_with_something_in_it(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="settings is a mapping with at least one entry"):
        Static(settings)
