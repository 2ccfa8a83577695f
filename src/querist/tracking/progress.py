"""How far a run's spool was delivered: one small file, replaced as a whole, and a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from querist.storage.store import store

PROGRESS_FILE = "tracking.state.json"
LOCK_FILE = "tracking.lock"
MAX_PROBLEMS = 50


@dataclass(frozen=True)
class Progress:
    """What the deliverer remembers.

    Attributes:
        seq: the last event that the tracker has; 0 = none.
        uri: where the MLflow run is.
        mlflow_run_id: the MLflow run; None until it was created.
        experiment_id: the MLflow experiment it is in.
        error: why the last attempt failed; None after one that succeeded.
        problems: single events that could not be delivered, and why. The rest went on.
    """

    seq: int = 0
    uri: str | None = None
    mlflow_run_id: str | None = None
    experiment_id: str | None = None
    error: str | None = None
    problems: tuple[str, ...] = ()


def read_progress(folder: Path) -> Progress:
    """What the file says; nothing delivered when it is missing or damaged.

    Delivering again from the start changes nothing in MLflow, so a damaged file costs time only.
    """
    try:
        content = json.loads((folder / PROGRESS_FILE).read_bytes())
        return Progress(
            seq=int(content["seq"]),
            uri=content.get("uri"),
            mlflow_run_id=content.get("mlflow_run_id"),
            experiment_id=content.get("experiment_id"),
            error=content.get("error"),
            problems=tuple(content.get("problems", ())),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Progress()


def write_progress(folder: Path, progress: Progress) -> None:
    """Replace the file as a whole: a reader sees the old one or the new one."""
    beside = folder / (PROGRESS_FILE + ".new")
    with store().open(beside) as file:
        store().write(file, json.dumps(asdict(progress)).encode())
        store().sync(file)
    store().replace(beside, folder / PROGRESS_FILE)


@contextlib.contextmanager
def delivery_lock(folder: Path) -> Iterator[bool]:
    """Whether this process may deliver; another one does while it is False.

    The kernel drops the lock when its holder dies, however it dies.
    """
    with store().open(folder / LOCK_FILE, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
