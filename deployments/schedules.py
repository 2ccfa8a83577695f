"""When a deployment runs by itself."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import available_timezones

from prefect.schedules import Cron, Interval, RRule, Schedule

from querist.errors import ConfigurationError

SLUG = "querist-serve"
"""Marks the schedule that `querist serve` has set, beside those that people set in the UI."""
TIMEZONE = "UTC"


def schedule_of(
    *, cron: str | None, every: float | None, rrule: str | None, timezone: str | None
) -> Schedule | None:
    """The schedule that is asked for; None without one.

    Args:
        cron: a cron expression, such as `0 6 * * 1`.
        every: seconds from one time to the next.
        rrule: a recurrence rule as calendars have it, such as `FREQ=WEEKLY;BYDAY=MO`.
        timezone: in which the times are meant, such as `Europe/Berlin`. Default: UTC.

    Raises:
        ConfigurationError: more than one, none for a time zone, or one that cannot be read.
    """
    asked = {"--cron": cron, "--every": every, "--rrule": rrule}
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(
            f"a deployment gets one schedule, not {' and '.join(given)}: leave one of them out"
        )
    if not given:
        if timezone is not None:
            raise ConfigurationError(
                "--timezone has no effect without --cron, --every or --rrule: add one of them"
            )
        return None
    zone = timezone or TIMEZONE
    if zone not in available_timezones():
        raise ConfigurationError(
            f"--timezone {zone!r} is not known: name one such as Europe/Berlin, or UTC"
        )
    try:
        if cron is not None:
            return Cron(cron, timezone=zone, slug=SLUG)
        if rrule is not None:
            return RRule(rrule, timezone=zone, slug=SLUG)
        assert every is not None
        return Interval(timedelta(seconds=every), timezone=zone, slug=SLUG)
    except ValueError as error:
        raise ConfigurationError(
            f"{given[0]} {asked[given[0]]!r} is no schedule ({' '.join(str(error).split())}): "
            "correct it"
        ) from error
