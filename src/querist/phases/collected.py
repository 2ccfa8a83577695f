"""What a run that is gone on with piece by piece has collected, and letting go of it in between."""

from __future__ import annotations

from dataclasses import dataclass

from querist.runs.run import Run
from querist.runs.tracking import PAUSED, track_end

ANNOUNCED = "labels_announced"
"""The fact that says of how many labels others have been told."""


@dataclass(frozen=True)
class Collected:
    """Where a run stands.

    Attributes:
        iterations: committed iterations.
        labels: labeled samples, the initial ones included.
        labels_new: those of them that nobody has been told of.
        pending: labels that were asked for and did not come yet.
        concluded: whether the run has ended.
        stop_reason: why, in words; None before.
    """

    iterations: int
    labels: int
    labels_new: int
    pending: int
    concluded: bool
    stop_reason: str | None


def collected(run: Run) -> Collected:
    """Where the run stands. From the first call on, labels that come are new.

    A call that was killed has told nobody: its labels are the next one's.
    """
    labels = len(run.data.labeled(run.ledger))
    concluded = run.ledger.fact("concluded") is not None
    announced = run.ledger.fact(ANNOUNCED)
    if announced is None and not concluded:
        run.ledger.set_fact(ANNOUNCED, str(labels))
    return Collected(
        iterations=run.ledger.next_iteration(),
        labels=labels,
        labels_new=labels - int(announced or labels),
        pending=len(run.ledger.open_requests()),
        concluded=concluded,
        stop_reason=run.ledger.fact("stop_reason") if concluded else None,
    )


def announced(run: Run, labels: int) -> None:
    """Note that others have been told of so many labels."""
    run.ledger.set_fact(ANNOUNCED, str(labels))


def pause(run: Run) -> None:
    """Have the tracker know that nobody works on the run until it is gone on with."""
    if run.experiment.tracking.enabled:
        track_end(run.reference.folder, PAUSED)
