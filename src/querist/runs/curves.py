"""The curves of a run's trainings in the tracker: loss, validation loss and learning rate.

A point's step is the number of epochs that the run has trained by then, over all iterations, so
that the curves of all trainings are one. The ledger has the points of a training once it is over,
and what the tracker was not told on the way is told then, in one event. Points that are told while
a long training goes on have names by their epoch: a training that is done again after a kill tells
what is missing, and nothing twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from querist.runs.run import Run
from querist.tracking.spool import TrackingSpool
from querist.training.curve import Row, rows_of
from querist.training.watched import MEGABYTE, Fitted
from querist.values import Phase

LIVE_SECONDS = 2.0
"""Between two events of a training that goes on; shorter trainings are told when they are over."""
EPOCHS_THROUGH = "epochs_through"
"""In the outcome of a training: the last step of its curve."""
COLUMNS = ("train.loss", "train.validation_loss", "train.lr")


def curve_name(iteration: int) -> str:
    """What the event is called after which the tracker has all of a training's curve."""
    return f"curve {iteration}"


def curve_facts(iteration: int, rows: Sequence[Row]) -> dict[str, str]:
    """What the ledger keeps of a training's curve, as facts: outcomes are read far more often."""
    return {curve_name(iteration): json.dumps(rows)} if rows else {}


def has_curve(run: Run, iteration: int) -> bool:
    """Whether the ledger has a curve of this training."""
    return bool(_points(run)) and run.ledger.fact(curve_name(iteration)) is not None


class LiveCurve:
    """Tells the tracker the points of a training that takes long, while it goes on.

    Args:
        run: the run.
        iteration: whose training it is.

    Attributes:
        points: how many points the curve has at most; 0 = none.
        before: epochs of all trainings before this one.
    """

    def __init__(self, run: Run, iteration: int) -> None:
        self._spool = run.spool
        self._iteration = iteration
        self.points = _points(run)
        self.before = _epochs_before(run, iteration)
        self._said = _said_through(run.spool, iteration) if self.points else 0
        self._waiting: list[Row] = []
        self._told = time.monotonic()

    def add(self, row: Row) -> None:
        """Take in a point; points wait for each other, so that events are few."""
        if row[0] <= self._said:
            return
        now = time.monotonic()
        while self._waiting and self._waiting[-1][0] >= row[0]:
            self._waiting.pop()  # a process of the training was lost: these epochs come again
        self._waiting.append(row)
        if now - self._told >= LIVE_SECONDS:
            self._told = now
            self.say()

    def say(self) -> None:
        """Tell the points that wait."""
        if self._waiting:
            name = f"{_live(self._iteration)}{self._waiting[-1][0]}"
            append_curve(self._spool, name, self._waiting, before=self.before)
            self._said = self._waiting[-1][0]
            self._waiting = []

    def through(self, fitted: Fitted) -> int:
        """The last step of the training's curve: an ensemble counts the epochs of each member."""
        last = fitted.curve[-1][0] if fitted.curve else 0
        return self.before + max(last, fitted.report.epochs)

    def end(self, rows: Sequence[Row], at: float) -> None:
        """Tell what is left of the curve, which the ledger has by now.

        Args:
            rows: all points of the training.
            at: when it was over, seconds since 1970.
        """
        if self.points and rows:
            left = [row for row in rows if row[0] > self._said]
            append_curve(self._spool, curve_name(self._iteration), left, before=self.before, at=at)


def track_curve(run: Run, iteration: int) -> None:
    """Tell the tracker what it has not heard of the curve of a training that is over.

    For a training whose process died between the ledger and the spool.
    """
    name = curve_name(iteration)
    if not _points(run) or run.spool.has(name):
        return
    stored = run.ledger.fact(name)
    if stored is None:  # it has none: an older run, or a learner without epochs
        return
    said = _said_through(run.spool, iteration)
    append_curve(
        run.spool,
        name,
        [row for row in rows_of(json.loads(stored)) if row[0] > said],
        before=_epochs_before(run, iteration),
        at=run.ledger.phase_ended(iteration, Phase.TRAIN),
    )


def append_curve(
    spool: TrackingSpool,
    once: str,
    rows: Sequence[Row],
    *,
    before: int = 0,
    at: float | None = None,
) -> None:
    """Write some points of a curve, as one event.

    Args:
        spool: where to.
        once: the event's name.
        rows: the points.
        before: epochs before this training.
        at: when it was, seconds since 1970. Default: now.
    """
    points = [[before + epoch, train, validation, lr] for epoch, train, validation, lr in rows]
    for i in range(1, len(rows) - 1):
        if rows[i - 1][3] == rows[i][3] == rows[i + 1][3]:  # a straight line is two points
            points[i][3] = None
    spool.append("curve", once=once, at=at, columns=COLUMNS, rows=points)


def training_metrics(outcome: Mapping[str, Any]) -> dict[str, float]:
    """What the ledger keeps of a training's time and memory, as metrics of its iteration."""
    values = {"train.samples_per_second": outcome.get("samples_per_second")}
    for part, seconds in (outcome.get("seconds") or {}).items():
        values[f"train.seconds.{part}"] = seconds
    memory = outcome.get("device_memory")
    values["train.device_memory_mb"] = None if memory is None else memory / MEGABYTE
    return {name: value for name, value in values.items() if value is not None}


def _points(run: Run) -> int:
    tracking = run.experiment.tracking
    return tracking.training_curves if tracking.enabled else 0


def _live(iteration: int) -> str:
    return f"{curve_name(iteration)} through epoch "


def _said_through(spool: TrackingSpool, iteration: int) -> int:
    """The last epoch of a training that the tracker was told of while it went on."""
    beginning = _live(iteration)
    return max((int(name.removeprefix(beginning)) for name in spool.names(beginning)), default=0)


def _epochs_before(run: Run, iteration: int) -> int:
    """Epochs of all trainings before that of `iteration`."""
    last = run.ledger.phase_outcome(iteration - 1, Phase.TRAIN) or {}
    if EPOCHS_THROUGH in last:
        return int(last[EPOCHS_THROUGH])
    rows = run.ledger.phase_rows()  # a run that an older version began, or the first iteration
    return sum(
        int(outcome.get("epochs", 0))
        for before, phase, _, outcome in rows
        if phase is Phase.TRAIN and before < iteration
    )
