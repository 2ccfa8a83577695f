"""A training handed to several processes, and brought back."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import torch

from querist.commands.process import Ended
from querist.config.component import Component
from querist.config.training import TrainingConfig
from querist.errors import LearnerError, StorageError
from querist.learners.build import DescribesLearner
from querist.registry import found_elsewhere
from querist.storage.atomic import create_folder, remove
from querist.training.distributed.failures import error_of, refusal
from querist.training.distributed.job_folder import JOB, JobFolder, Ranks
from querist.training.distributed.joining import JOBS
from querist.training.distributed.messages import EPOCH, Hears
from querist.training.distributed.ray_train import (
    gpus_of_the_cluster,
    inside_an_actor,
    train_on_ray,
)
from querist.training.distributed.torchrun import start_ranks
from querist.training.job import EpochReport, TrainingJob, TrainingReport

if TYPE_CHECKING:
    from querist.learners.torch_learner import TorchLearner

_log = logging.getLogger(__name__)


def fit_in_processes(learner: TorchLearner, labeled: Any, job: TrainingJob) -> TrainingReport:
    """Train the learner in `job.settings.ranks` processes, which are started for it.

    They begin with the learner's present state, and what they end with is loaded into it.

    Raises:
        LearnerError: the learner or the data cannot be handed to another process, or one of them
            failed more often than `training.distributed.max_restarts` allows.
        ConfigurationError: the model cannot be built in another process.
    """
    recipe = _recipe(learner)
    on_ray = _on_ray(job.settings)
    ranks = _ranks(job.settings, max(1, learner.threads // job.settings.processes), on_ray)
    with _job_folder(learner.folder, job.iteration) as path:
        folder = JobFolder(path)
        folder.write(learner, recipe, labeled, job, ranks)
        follower = Follower(folder, job)
        if on_ray:
            train_on_ray(folder, job.settings, ranks, follower)
        else:
            _run(folder, job.settings, ranks, follower)
        found = folder.result()
        if found is None:
            raise LearnerError(
                f"training processes leave their result in {path}, and they ended without one: see "
                f"{folder.logs}"
            )
        report, state = found
    learner.load_state_files(state)
    return report


def _recipe(learner: TorchLearner) -> DescribesLearner:
    """What the learner is built from again.

    Raises:
        LearnerError: another process could not.
    """
    if learner.recipe is None:
        raise LearnerError(
            "several training processes build the model by its name, and this one was handed over "
            "as an object: name it in the configuration, or set training.processes to 1"
        )
    training = learner.recipe.training
    parts: list[tuple[str, Component | None]] = [
        ("learner", learner.recipe.learner),
        ("loop", training.loop),
        ("step", training.train_step_fn),
        ("step", training.validate_step_fn),
    ]
    for kind, component in parts:
        if component is not None and not found_elsewhere(kind, component.name):
            raise LearnerError(
                f"several training processes find the {kind} by its name, and {component.name!r} "
                "is registered in this process only: name it as package.module:attribute, register "
                "it by an entry point of its package, or set training.processes to 1"
            )
    return learner.recipe


def _on_ray(settings: TrainingConfig) -> bool:
    launcher = settings.distributed.launcher
    alone = settings.distributed.nodes == 1
    return launcher == "ray" or (launcher == "auto" and alone and inside_an_actor())


def _ranks(settings: TrainingConfig, threads: int, on_ray: bool) -> Ranks:
    """What the ranks run on.

    Raises:
        LearnerError: they would have to share a device.
    """
    device = settings.device
    here = gpus_of_the_cluster() if on_ray else torch.cuda.device_count()
    if device == "mps" or ":" in device:
        raise LearnerError(
            f"every training process needs a device of its own, and training.device {device} is "
            "one: set it to auto, cuda or cpu, or training.processes to 1"
        )
    on: Literal["cpu", "cuda"] = "cuda"
    if device == "cpu" or (device == "auto" and not here):
        on = "cpu"
    if on == "cuda" and here < settings.processes:
        where = "the Ray cluster" if on_ray else "this machine"
        raise LearnerError(
            f"every training process needs a GPU of its own, and {where} has {here} for "
            f"{settings.processes}: lower training.processes, or set training.device to cpu"
        )
    wanted = settings.distributed.backend
    if wanted == "nccl" and on == "cpu":
        raise LearnerError(
            "nccl talks between GPUs, and training is on the CPU: set "
            "training.distributed.backend to auto or gloo"
        )
    auto: Literal["gloo", "nccl"] = "nccl" if on == "cuda" else "gloo"
    return Ranks(on, auto if wanted == "auto" else wanted, threads)


@contextmanager
def _job_folder(run: Path | None, iteration: int) -> Iterator[Path]:
    """A new folder for a job, in the run's folder if there is one; failed ones keep their logs."""
    if run is None:
        path = Path(tempfile.mkdtemp(prefix="querist-ranks-"))
    else:
        create_folder(run / JOBS)
        for left in (run / JOBS).glob(f"*/{JOB}"):  # by a process that was killed
            remove(left.parent)
        path = run.absolute() / JOBS / f"iteration_{iteration:04d}-{uuid4().hex[:6]}"
        path.mkdir()
    try:
        yield path
    except Exception:
        for part in path.iterdir():
            if part.name != "logs" and not part.name.startswith("failures-"):
                with suppress(StorageError):  # what failed before counts
                    remove(part)
        raise
    except BaseException:  # stopped, and not because it failed
        remove(path)
        raise
    remove(path)


class Follower:
    """Passes on what rank 0 says and keeps.

    Args:
        folder: where it says it.
        job: who hears it.
    """

    def __init__(self, folder: JobFolder, job: TrainingJob) -> None:
        self._folder = folder
        self._job = job
        self._hears = Hears(folder.messages)
        self._stamp = folder.partial_stamp()
        latest = folder.partial.latest()
        self._kept = self._told = 0 if latest is None else latest[0]

    def __call__(self) -> None:
        """Pass on what is new.

        Raises:
            QueristError: what a rank refused to do.
        """
        refused = refusal(self._folder.refusal)
        if refused is not None:
            raise refused
        state = self._new_state()
        for kind, content in self._hears.new():
            if kind != EPOCH:
                name, level, text = content
                logging.getLogger(name).log(level, "%s", text)
                continue
            report = EpochReport(**content)
            if state is not None and report.epoch > state[0]:
                self._keep(*state)
                state = None
            if report.epoch > self._told:  # ranks that were started again repeat some
                self._told = report.epoch
                self._job.on_epoch(report)
        if state is not None:
            self._keep(*state)

    def _new_state(self) -> tuple[int, dict[str, bytes]] | None:
        """A state in mid-training that the job has not got yet."""
        stamp = None if self._job.partial is None else self._folder.partial_stamp()
        if stamp is None or stamp == self._stamp:
            return None
        found = self._folder.partial.latest()
        if found is None:  # it is being replaced
            return None
        self._stamp = stamp
        return found if found[0] > self._kept else None

    def _keep(self, epoch: int, files: dict[str, bytes]) -> None:
        assert self._job.partial is not None
        self._job.partial.save(epoch, files)
        self._kept = epoch


def _run(folder: JobFolder, settings: TrainingConfig, ranks: Ranks, follower: Follower) -> None:
    """Start the ranks and follow them to their end.

    Raises:
        LearnerError: they failed.
        QueristError: what a rank refused to do.
    """
    nodes = settings.distributed.nodes
    if nodes > 1:
        _log.warning(
            "the training waits for %d more machines: run `querist join %s` on each",
            nodes - 1,
            folder.path.parent.parent if folder.path.parent.name == JOBS else folder.path,
        )
    ended = start_ranks(
        folder,
        settings,
        threads=ranks.threads,
        # Of the run, where there is one: ranks of a former process must be gone.
        lock=folder.path.parent / "lock" if folder.path.parent.name == JOBS else None,
        meanwhile=follower,
    )
    follower()
    if (ended.how, ended.detail) != ("exit", "0"):
        raise error_of(
            folder.path.glob("failures-*.json"),
            settings.ranks,
            1 + settings.distributed.max_restarts,
            otherwise=_in_words(ended, folder),
        )


def _in_words(ended: Ended, folder: JobFolder) -> str:
    """How the launcher ended where it does not say why."""
    words = {
        "stopped": "were stopped, since the step that they belong to was",
        "busy": "cannot start: those of a former process of this run are still there",
        "lost": "were killed together with what looked after them",
        "missing": f"cannot be started: {ended.detail}",
    }.get(ended.how, f"ended with {ended.how} {ended.detail}")
    said = "\n".join(ended.errors)
    return f"the training processes {words}: see {folder.logs}" + (f"\n{said}" if said else "")
