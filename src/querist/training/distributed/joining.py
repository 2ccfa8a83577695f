"""Another machine's part in the trainings of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, LearnerError
from querist.training.distributed.job_folder import JOB, JobFolder
from querist.training.distributed.torchrun import start_ranks

JOBS = "ranks"
"""Where a run's folder has the jobs of its trainings."""
_LOOK_SECONDS = 0.5
_log = logging.getLogger(__name__)


def join(folder: Path, address: str | None = None) -> int:
    """Train with the others: in one job, or in all jobs of a run until it is interrupted.

    Args:
        folder: a job's folder, as the log of the first machine names it, or a run's folder.
        address: where the others reach this machine; None = by its name.

    Returns how many trainings there were.

    Raises:
        ConfigurationError: the folder is neither, or its training is of one machine.
        LearnerError: the processes of the job failed.
    """
    if (folder / JOB).is_file():
        if not _take_part(JobFolder(folder), address):
            raise LearnerError(
                f"the training processes of {folder} failed on this machine: see {folder / 'logs'}"
            )
        return 1
    if not folder.is_dir():
        raise ConfigurationError(
            f"a training is joined by the folder of its job or run, and {folder} is none: name "
            "the one that the log of the first machine names"
        )
    done = 0
    for job in _new_jobs(folder / JOBS):
        if _take_part(job, address):
            done += 1
        else:  # the first machine says why, and may try again
            _log.warning("the training processes of %s failed on this machine", job.path)
    return done


def _new_jobs(jobs: Path) -> Iterator[JobFolder]:
    """The jobs of a run, each as soon as it is there."""
    seen: set[Path] = set()
    while True:
        found = sorted(path.parent for path in jobs.glob(f"*/{JOB}"))
        for path in found:
            if path not in seen:
                seen.add(path)
                yield JobFolder(path)
        time.sleep(_LOOK_SECONDS)


def _take_part(job: JobFolder, address: str | None) -> bool:
    """Run this machine's processes of a job; whether they ended well."""
    about = job.about()
    settings = TrainingConfig.model_validate(about["settings"])
    if settings.distributed.nodes == 1:
        raise ConfigurationError(
            f"a training is joined where training.distributed.nodes is more than 1, and "
            f"{job.path} is of one machine: set it there"
        )
    _log.info("joining %s", job.path)
    ended = start_ranks(
        job, settings, threads=about["ranks"]["threads"], lock=None, address=address,
        first_node=False,
    )  # fmt: skip
    return (ended.how, ended.detail) == ("exit", "0")
