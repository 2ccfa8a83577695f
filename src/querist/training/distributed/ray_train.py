"""The ranks of a job as workers of Ray Train, on whatever machines of the cluster have room."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from querist.commands.allowed import ALLOWED_COMMANDS_VARIABLE
from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, LearnerError
from querist.faults import VARIABLE as CRASH_VARIABLE
from querist.registry import ALLOWED_PACKAGES_VARIABLE
from querist.training.distributed.failures import Failure, error_of, refuse, write_failures
from querist.training.distributed.job_folder import JobFolder, Ranks

_PASSED_ON = (ALLOWED_PACKAGES_VARIABLE, ALLOWED_COMMANDS_VARIABLE, CRASH_VARIABLE)
"""What workers find in their environment besides their own."""
_LOOK_SECONDS = 0.1
_END_SECONDS = 60.0


def inside_an_actor() -> bool:
    """Whether this process carries out the steps of a run on Ray."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return ray.get_runtime_context().get_actor_id() is not None


def gpus_of_the_cluster() -> int:
    """How many GPUs Ray has."""
    with _connected() as ray:
        return int(ray.cluster_resources().get("GPU", 0))


def train_on_ray(
    folder: JobFolder, settings: TrainingConfig, ranks: Ranks, meanwhile: Callable[[], None]
) -> None:
    """Run the ranks of a job to their end; the cluster must see the job's folder.

    Args:
        folder: the job.
        settings: how many there are, and how often they may fail.
        ranks: what they run on.
        meanwhile: called several times a second; what it raises ends them after an epoch.

    Raises:
        ConfigurationError: Ray is not installed.
        LearnerError: the cluster has not the room, or the ranks failed.
    """
    with _connected() as ray:
        each = {"CPU": ranks.threads, "GPU": int(ranks.device == "cuda")}
        _check_room(ray, each, settings.processes)
        trainer = _trainer(folder, settings, ranks, each)
        with ThreadPoolExecutor(1, "querist-ray-train") as thread:
            fitted: Future[Any] = thread.submit(trainer.fit)
            try:
                while not wait([fitted], _LOOK_SECONDS).done:
                    meanwhile()
                meanwhile()
            except BaseException:
                refuse(folder.refusal, LearnerError("the training was stopped"))
                wait([fitted], _END_SECONDS)
                raise
        if (error := fitted.exception()) is not None:
            raise _error(folder, settings, error) from error


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected to the cluster that this process knows, or to one of this machine."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "training.distributed.launcher 'ray' needs Ray Train: pip install 'querist[ray]'"
        ) from error
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _check_room(ray: Any, each: Mapping[str, int], workers: int) -> None:
    has = ray.cluster_resources()
    mine = ray.get_runtime_context().get_assigned_resources() if inside_an_actor() else {}
    for kind, number in each.items():
        free = has.get(kind, 0) - mine.get(kind, 0)
        if number * workers > free:
            raise LearnerError(
                f"{workers} training processes with {number} {kind}s each need {number * workers}, "
                f"and the Ray cluster has {free:g} besides this one's: lower training.processes or "
                "training.threads, or set training.distributed.launcher to torchrun"
            )


def _trainer(
    folder: JobFolder, settings: TrainingConfig, ranks: Ranks, each: Mapping[str, int]
) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    distributed = settings.distributed
    return TorchTrainer(
        rank_on_ray,
        train_loop_config={
            "folder": str(folder.path),
            "environment": {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "path": [entry or os.getcwd() for entry in sys.path],
        },
        torch_config=TorchConfig(
            backend=ranks.backend, timeout_s=max(1, int(distributed.timeout_seconds))
        ),
        scaling_config=ScalingConfig(
            num_workers=settings.processes,
            use_gpu=ranks.device == "cuda",
            resources_per_worker={kind: n for kind, n in each.items() if n},
        ),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder.path / "ray"),
            failure_config=FailureConfig(max_failures=distributed.max_restarts),
        ),
    )


def rank_on_ray(told: Mapping[str, Any]) -> None:
    """What a worker does, each time that the workers are started."""
    os.environ.update(told["environment"])
    sys.path += [entry for entry in told["path"] if entry not in sys.path]
    from ray.train.torch import get_device

    from querist.training.distributed.rank import train_rank

    folder = Path(told["folder"])
    on_gpu = JobFolder(folder).about()["ranks"]["device"] == "cuda"
    train_rank(folder, get_device() if on_gpu else torch.device("cpu"))


def _error(folder: JobFolder, settings: TrainingConfig, error: BaseException) -> LearnerError:
    """The readable error of a training that Ray gave up."""
    from ray.exceptions import RayActorError
    from ray.train import WorkerGroupError

    words = " ".join(str(error).split())[:500]
    found = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    died = {rank: e for rank, e in found.items() if isinstance(e, RayActorError)}
    failures = [
        Failure(rank, 1, " ".join(f"{type(e).__name__}: {e}".split())[:500], None)
        for rank, e in (died or found).items()
    ]
    path = folder.path / "failures-ray.json"
    write_failures(path, failures)
    return error_of(
        [path],
        settings.processes,
        1 + settings.distributed.max_restarts,
        otherwise=f"Ray Train could not train, {words}: see its log",
    )
