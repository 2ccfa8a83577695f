from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from querist.deployments.schedules import SLUG, schedule_of
from querist.errors import ConfigurationError

NONE: dict[str, Any] = {"cron": None, "every": None, "rrule": None, "timezone": None}


def test_each_kind_with_its_time_zone() -> None:
    assert schedule_of(**NONE) is None
    weekly = schedule_of(**{**NONE, "cron": "0 6 * * 1", "timezone": "Europe/Berlin"})
    assert weekly is not None
    assert (weekly.cron, weekly.timezone, weekly.slug) == ("0 6 * * 1", "Europe/Berlin", SLUG)
    often = schedule_of(**{**NONE, "every": 90.0})
    assert often is not None
    assert (often.interval, often.timezone) == (timedelta(seconds=90), "UTC")
    mondays = schedule_of(**{**NONE, "rrule": "FREQ=WEEKLY;BYDAY=MO"})
    assert mondays is not None
    assert mondays.rrule == "FREQ=WEEKLY;BYDAY=MO"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cron": "0 6 * *"}, r"--cron '0 6 \* \*' is no schedule \(.*\): correct it"),
        ({"rrule": "EVERY MONDAY"}, "--rrule 'EVERY MONDAY' is no schedule"),
        ({"cron": "* * * * *", "timezone": "Berlin"}, "--timezone 'Berlin' is not known"),
        ({"timezone": "Europe/Berlin"}, "--timezone has no effect without --cron"),
        ({"cron": "* * * * *", "every": 60.0}, "one schedule, not --cron and --every"),
    ],
)
def test_what_is_no_schedule(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        schedule_of(**{**NONE, **asked})
