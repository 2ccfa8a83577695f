"""What `querist serve` is asked for; `querist up` hands the same on to its runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from querist.errors import ConfigurationError


@dataclass(frozen=True)
class Serving:
    """Files to serve, when they run by themselves, and who is told.

    Attributes:
        files: experiments, comparisons, parallel learners and retrainings.
        cron: a cron expression.
        every: seconds from one flow run to the next.
        rrule: a recurrence rule.
        timezone: in which the schedule is meant.
        paused: the schedules wait until somebody switches them on.
        on_labels: retrainings run when labels have come.
        on_event: events on which retrainings run.
        notify: a notification block, by its id or as `type/name`, that is told of failures.
    """

    files: tuple[Path, ...] = ()
    cron: str | None = None
    every: float | None = None
    rrule: str | None = None
    timezone: str | None = None
    paused: bool = False
    on_labels: bool = False
    on_event: tuple[str, ...] = ()
    notify: str | None = None

    def check(self) -> None:
        """Refuse what has no effect without a file.

        Raises:
            ConfigurationError: there is something of it, and no file.
        """
        if self.files:
            return
        for option in ("cron", "every", "rrule", "timezone", "paused", "on_labels", "on_event"):
            if getattr(self, option):
                raise ConfigurationError(
                    f"--{option.replace('_', '-')} has no effect without a file to serve: name one"
                )

    def arguments(self) -> Sequence[str]:
        """The same as arguments of `querist serve`, from any folder."""
        words = [str(file.absolute()) for file in self.files]
        for option in ("cron", "every", "rrule", "timezone", "notify"):
            value = getattr(self, option)
            if value is not None:
                words.append(f"--{option}={value}")
        words += [f"--on-event={event}" for event in self.on_event]
        words += ["--paused"] * self.paused + ["--on-labels"] * self.on_labels
        return words
