"""Delivers a run's spool to MLflow: `python -m querist.tracking.deliver RUN_FOLDER [--follow]`.

How far it got is noted after each step, and what was delivered but not noted is delivered again,
which changes nothing in MLflow. So a deliverer may be killed at any time, and a tracker may be
down for as long as it likes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from querist.tracking.courier import Courier
from querist.tracking.progress import delivery_lock, read_progress
from querist.tracking.spool import SPOOL_FILE, TrackingSpool

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 10.0
LINGER_SECONDS = 0.5
MAX_BACK_OFF_SECONDS = 30.0


@dataclass(frozen=True)
class DeliveryReport:
    """What one delivery did.

    Attributes:
        delivered: events that MLflow took now.
        pending: events that it has not.
        mlflow_run_id: the MLflow run; None while there is none.
        error: why it stopped early; None when everything is there.
        problems: single events that cannot be delivered at all, from all deliveries so far.
    """

    delivered: int
    pending: int
    mlflow_run_id: str | None
    error: str | None
    problems: tuple[str, ...]


def deliver(folder: Path, *, patience: float = PATIENCE_SECONDS) -> DeliveryReport:
    """Deliver what a run's spool holds, once. For `querist sync`.

    Args:
        folder: the run's folder.
        patience: how many seconds to wait for another process that is delivering it; the run's own
            deliverer goes on for a moment after the run.
    """
    if not (folder / SPOOL_FILE).is_file():
        return DeliveryReport(0, 0, None, f"there is no {SPOOL_FILE} in {folder}", ())
    until = time.monotonic() + patience
    while True:
        with delivery_lock(folder) as mine:
            if mine or time.monotonic() >= until:
                return _deliver(folder) if mine else _busy(folder)
        time.sleep(POLL_SECONDS)


def _busy(folder: Path) -> DeliveryReport:
    state = read_progress(folder)
    pending = len(TrackingSpool(folder).events(state.seq))
    busy = f"another process is delivering {folder}: wait for it"
    return DeliveryReport(0, pending, state.mlflow_run_id, busy, state.problems)


def _deliver(folder: Path) -> DeliveryReport:
    courier = Courier(folder)
    # Whatever it is, it must not cost the events: they stay in the spool for another time.
    try:
        courier.drain()
    except Exception as error:
        courier.note_error(error)
    state = courier.progress
    return DeliveryReport(
        courier.delivered,
        courier.pending,
        state.mlflow_run_id,
        courier.error if courier.pending else None,
        state.problems,
    )


def follow(folders: Sequence[Path], *, parent: int) -> bool:
    """Deliver events as they come, until the end of the runs or that of the process `parent`.

    Args:
        folders: the run's folder; of a parallel run its own, then those of its learners. Where a
            learner has no spool when the parallel run has ended, there is nothing to wait for.
        parent: the process that started this one.

    Returns:
        Whether everything was delivered.
    """
    followed: dict[Path, _Followed] = {}
    with ExitStack() as locks:
        while True:
            orphaned = os.getppid() != parent
            for folder in folders:
                if folder not in followed and _is_mine(folder, folders, locks):
                    followed[folder] = _Followed(Courier(folder))
            for one in followed.values():
                one.go_on(linger=0.0 if orphaned else LINGER_SECONDS)
            couriers = [one.courier for one in followed.values()]
            began = folders[0] in followed
            # A learner may have begun, and even ended, while another spool was delivered.
            new = [f for f in folders if f not in followed and (f / SPOOL_FILE).exists()]
            ended = began and not new and all(courier.finished for courier in couriers)
            if ended or orphaned:
                return began and not new and not any(courier.pending for courier in couriers)
            _sleep(min((one.pause for one in followed.values()), default=POLL_SECONDS), parent)


def _is_mine(folder: Path, folders: Sequence[Path], locks: ExitStack) -> bool:
    """Whether this process is the one that delivers a spool, from now until it ends."""
    if folder != folders[0] and not (folder / SPOOL_FILE).exists():
        return False
    lock = delivery_lock(folder)
    if lock.__enter__():
        locks.push(lock.__exit__)
        return True
    lock.__exit__(None, None, None)
    return False


@dataclass
class _Followed:
    """A spool that is followed."""

    courier: Courier
    pause: float = POLL_SECONDS
    _due: float = 0.0

    def go_on(self, *, linger: float) -> None:
        """Deliver what is there; after an error not before a while."""
        if time.monotonic() < self._due and linger:
            return
        # Whatever it is, it must not cost the events: they stay in the spool for another time.
        try:
            self.courier.drain(linger=linger)
            self.pause = POLL_SECONDS
        except Exception as error:
            self.courier.note_error(error)
            _say(self.courier.error or "")
            self.pause = min(2 * max(self.pause, 0.25), MAX_BACK_OFF_SECONDS)
            self._due = time.monotonic() + self.pause


def _sleep(seconds: float, parent: int) -> None:
    """Sleep, but not past the parent's end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and os.getppid() == parent:
        time.sleep(min(left, 0.5))


def _say(line: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {line}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Entry of `python -m querist.tracking.deliver`; the exit code is 1 when events are left."""
    parser = argparse.ArgumentParser(
        prog="python -m querist.tracking.deliver",
        description="Deliver what a run left for MLflow. Doing it twice changes nothing.",
    )
    parser.add_argument("folder", type=Path, help="the run's folder")
    parser.add_argument("learners", type=Path, nargs="*", help="with --follow: more folders")
    parser.add_argument("--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("--parent", type=int, help="with --follow: stop when this process is gone")
    options = parser.parse_args(arguments)
    if options.parent is not None and not options.follow:
        parser.error("--parent has no effect without --follow: remove it or add --follow")
    if options.learners and not options.follow:
        parser.error("several folders have no effect without --follow: name one of them")
    if options.follow:
        folders = [options.folder, *options.learners]
        return 0 if follow(folders, parent=options.parent or os.getppid()) else 1
    report = deliver(options.folder)
    for problem in report.problems:
        _say(problem)
    if report.error:
        _say(f"{report.pending} events are not delivered: {report.error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
