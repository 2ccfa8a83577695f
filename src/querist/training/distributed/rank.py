"""One of the processes that train together: `python -m querist.training.distributed.rank FOLDER`.

It is started by torchrun or by Ray Train, and knows of the job what is in the job's folder. It
never sees Prefect.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from querist.errors import LearnerError, QueristError, StorageError
from querist.training.distributed.failures import refuse
from querist.training.distributed.job_folder import JobFolder, rank_device
from querist.training.distributed.messages import Says, SaysLog
from querist.training.distributed.process_group import ProcessGroup
from querist.training.job import EpochReport, TrainingJob

_PR_SET_PDEATHSIG = 1
_log = logging.getLogger("querist.training.distributed.rank")


def train_rank(folder: Path, device: torch.device) -> None:
    """Do this process's part of the training in a job's folder; rank 0 leaves the result there.

    May be called again after a failure: it goes on from the newest state in mid-training.
    """
    here = JobFolder(folder)
    if here.refusal.exists():  # nobody waits for the result any more
        return
    with _refusing(here):
        _train(here, device)


@contextmanager
def _refusing(here: JobFolder) -> Iterator[None]:
    """Errors that trying again would not change are left for the process that waits."""
    try:
        yield
    except QueristError as error:
        with suppress(StorageError):  # another rank does the same
            if not here.refusal.exists():
                refuse(here.refusal, error)
        raise


def _train(here: JobFolder, device: torch.device) -> None:
    ranks = here.about()["ranks"]
    learner = here.learner(device)
    job = here.job(device, learner.dtype)  # type: ignore[attr-defined]
    settings = job.settings.distributed
    log = logging.getLogger("querist")
    log.setLevel(logging.INFO)
    with ProcessGroup.joined(settings, device, ranks["backend"]) as group:
        job = replace(job, group=group)
        if group.rank == 0:
            says = Says(here.messages)
            log.addHandler(SaysLog(says))

            def on_epoch(report: EpochReport) -> None:
                says.epoch(report)
                if here.refusal.exists():
                    raise LearnerError("the training was stopped")

            job = replace(job, on_epoch=on_epoch)
            _say_that_it_is_a_restart(job)
        report = learner.fit(here.labeled(), job)
        if report.steps and not group.wrapped:
            raise LearnerError(
                f"a training loop of several processes wraps its step with job.group.wrap, and "
                f"{job.settings.loop.name!r} does not: set training.processes to 1, or see "
                "querist.training.group"
            )
        if group.rank == 0:
            here.write_result(report, learner.state_files())


def _say_that_it_is_a_restart(job: TrainingJob) -> None:
    tries = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if tries:
        found = None if job.partial is None else job.partial.latest()
        _log.warning(
            "a training process died, and all were started again (%d of at most %d times), from "
            "epoch %d",
            tries,
            job.settings.distributed.max_restarts,
            0 if found is None else found[0],
        )


def _end_with_parent() -> None:
    """Be killed when torchrun ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@record
def main() -> None:
    """Train as torchrun's environment says."""
    _end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    here = JobFolder(Path(sys.argv[1]))
    with _refusing(here):
        device = rank_device(here.about()["ranks"], int(os.environ["LOCAL_RANK"]))
    train_rank(here.path, device)


if __name__ == "__main__":
    main()
    # Threads of torch now and then abort a Python that shuts down, after all is done.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
