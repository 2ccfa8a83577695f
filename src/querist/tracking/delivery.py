"""The run's side of tracking: starts the deliverer and asks how far it is. Light to import."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from querist.tracking.asking import asked
from querist.tracking.progress import read_progress
from querist.tracking.spool import SpoolReader

LOG_FILE = "tracking.log"
PATIENCE_SECONDS = 1.5
_POLL_SECONDS = 0.05
_ONE_THREAD = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
_log = logging.getLogger(__name__)


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
    """Delivers a run's spool in a process of its own, which the run never waits for.

    Args:
        folder: the run's folder.
        learners: the folders of the learners of a parallel run, whose spools go along.
        called: what `querist sync` knows it by. Default: the folder's name.
    """

    def __init__(
        self, folder: Path, learners: Sequence[Path] = (), *, called: str | None = None
    ) -> None:
        self.folder = folder
        self._called = called or folder.name
        self._learners = learners
        self._process: subprocess.Popen[bytes] | None = None
        self._readers = {one: SpoolReader(one) for one in (folder, *learners)}
        self._written = dict.fromkeys(self._readers, 0)

    def start(self) -> None:
        """Start the deliverer, unless it runs. It ends with the run, or with this process."""
        if self._process is not None and self._process.poll() is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        folders = map(str, (self.folder, *self._learners))
        command = [sys.executable, "-m", "querist.tracking.deliver", *folders, "--follow"]
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

    def wait(self, seconds: float, *, answer_seconds: float = PATIENCE_SECONDS) -> DeliveryState:
        """Wait until all is delivered, at most so long, and less for a tracker that is down.

        It counts as down when it has taken nothing for 1.5 s after an attempt failed, or has not
        answered in time. What is left is said in the log: the deliverer goes on with it by itself.

        Args:
            seconds: how long at most.
            answer_seconds: how long an answer may take.
        """
        began = moved = time.monotonic()
        seen: object = None
        while True:
            due = [answer for one in self._readers if (answer := asked(one)) is not None] or None
            state = self.state()
            now = time.monotonic()
            # Between requests the deliverer is at work: it starts, it puts a model together.
            sign = (state.pending, due)
            if sign != seen or (due is None and not state.error):
                moved, seen = now, sign
            is_down = now - moved > (PATIENCE_SECONDS if state.error else answer_seconds)
            is_gone = self._process is not None and self._process.poll() is not None
            if state.delivered or is_down or is_gone or now - began >= seconds:
                state = self.state()
                self._tell(state)
                return state
            time.sleep(_POLL_SECONDS)

    def _tell(self, state: DeliveryState) -> None:
        for problem in state.problems:
            _log.warning("MLflow will not get this: %s", problem)
        if not state.delivered:
            why = state.error or "no answer yet"
            _log.warning(
                "MLflow has not got %d events (%s): `querist sync %s` delivers what is left",
                state.pending, why, self._called,
            )  # fmt: skip

    def state(self) -> DeliveryState:
        """How far it is now, over all spools."""
        progress = read_progress(self.folder)
        pending, error, problems = 0, progress.error, progress.problems
        for folder, reader in self._readers.items():
            for event in reader.read():
                self._written[folder] = event.seq
            of_it = progress if folder == self.folder else read_progress(folder)
            pending += max(0, self._written[folder] - of_it.seq)
            if folder != self.folder:
                error = error or of_it.error
                problems += of_it.problems
        if pending and self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            error = error or f"the deliverer ended with code {code}: see {self.folder / LOG_FILE}"
        return DeliveryState(
            delivered=not pending,
            pending=pending,
            error=error if pending else None,
            problems=problems,
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
