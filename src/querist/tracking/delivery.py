"""The run's side of tracking: starts the deliverer and asks how far it is. Light to import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from querist.tracking.progress import read_progress
from querist.tracking.spool import SpoolReader

LOG_FILE = "tracking.log"
PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_ONE_THREAD = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class DeliveryState:
    """How far the tracker is behind the run.

    Attributes:
        delivered: whether the tracker has everything that the run wrote.
        pending: how many events it has not.
        error: why delivery does not go on; None while it does.
        problems: single events that cannot be delivered at all, and why.
        uri: where the MLflow run is.
        mlflow_run_id: the MLflow run; None until it was created.
        experiment_id: the MLflow experiment it is in.
    """

    delivered: bool
    pending: int
    error: str | None
    problems: tuple[str, ...]
    uri: str | None
    mlflow_run_id: str | None
    experiment_id: str | None


class Delivery:
    """Delivers a run's spool in a process of its own, which the run never waits for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = SpoolReader(folder)
        self._written = 0

    def start(self) -> None:
        """Start the deliverer, unless it runs. It ends with the run, or with this process."""
        if self._process is not None and self._process.poll() is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "querist.tracking.deliver", str(self.folder), "--follow"]
        with (self.folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                # A session of its own: Ctrl-C is for the run, the deliverer then drains.
                start_new_session=True,
            )
        _yield_to_training(self._process.pid)

    def wait(self, seconds: float) -> DeliveryState:
        """Wait until all is delivered, at most so long; sooner if the tracker is down.

        It counts as down when an attempt failed and nothing moved for 5 s.
        """
        until = time.monotonic() + seconds
        moved, last = time.monotonic(), -1
        while True:
            state = self.state()
            now = time.monotonic()
            if state.pending != last:
                moved, last = now, state.pending
            stuck = state.error is not None and now - moved > PATIENCE_SECONDS
            if state.delivered or stuck or now >= until:
                return state
            if self._process is not None and self._process.poll() is not None:
                return self.state()
            time.sleep(_POLL_SECONDS)

    def state(self) -> DeliveryState:
        """How far it is now."""
        progress = read_progress(self.folder)
        for event in self._reader.read():
            self._written = event.seq
        pending = max(0, self._written - progress.seq)
        error = progress.error
        if pending and self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            error = error or f"the deliverer ended with code {code}: see {self.folder / LOG_FILE}"
        return DeliveryState(
            delivered=not pending,
            pending=pending,
            error=error if pending else None,
            problems=progress.problems,
            uri=progress.uri,
            mlflow_run_id=progress.mlflow_run_id,
            experiment_id=progress.experiment_id,
        )

    @property
    def mlflow_run_id(self) -> str | None:
        """The MLflow run; None until it was created."""
        return read_progress(self.folder).mlflow_run_id


def _environment() -> Mapping[str, str]:
    """This process's, with its import path, so that user packages are found; one thread."""
    path = [entry or os.getcwd() for entry in sys.path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in path if os.path.isdir(p))),
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ.get(name, "1") for name in _ONE_THREAD},
    }


def _yield_to_training(process: int) -> None:
    """Give the deliverer a lower priority than training."""
    try:
        os.setpriority(os.PRIO_PROCESS, process, 15)
    except OSError:  # gone already, or not allowed: it works without
        return
