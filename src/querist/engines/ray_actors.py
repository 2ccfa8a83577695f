"""Learners on Ray: an actor each, on whatever machine of the cluster has room for it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from querist.config.parallel import ParallelConfig
from querist.engines.remote import RemoteHost, RemoteSteps
from querist.errors import ConfigurationError
from querist.runs.host import Host, Step
from querist.runs.process_host import pass_on
from querist.runs.reference import RunReference

_PASSED_ON = (
    "QUERIST_ALLOWED_PACKAGES", "QUERIST_ALLOWED_COMMANDS", "QUERIST_ROOT", "OMP_NUM_THREADS",
)  # fmt: skip
"""What actors find in their environment; whatever is secret the cluster's operator sets there."""


class RayEngine:
    """An actor for each learner.

    Args:
        cpus: cores that Ray reserves for each.
        gpus: GPUs that Ray gives to each alone.
    """

    def __init__(self, cpus: int, gpus: int) -> None:
        self._cpus, self._gpus = cpus, gpus

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: ParallelConfig, learners: int) -> AsyncIterator[RayEngine]:
        """The engine on the cluster at `parallel.address`, or on one of this machine alone.

        Raises:
            ConfigurationError: Ray is not installed, or the cluster has not what learners need.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "parallel.where 'ray' needs Ray: pip install 'querist[ray]'"
            ) from error
        cpus = config.resources.cpus or 1
        own = not ray.is_initialized()
        if own:
            await asyncio.to_thread(_connect, ray, config, learners * cpus)
        try:
            _check_room(ray.cluster_resources(), cpus, config.resources.gpus, learners)
            yield cls(cpus, config.resources.gpus)
        finally:
            if own:
                await asyncio.to_thread(ray.shutdown)

    @asynccontextmanager
    async def host(self, learner: str) -> AsyncIterator[Host]:
        """An actor of its own."""
        import ray

        remote: Any = ray.remote(RemoteSteps)
        actor = remote.options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0
        ).remote()
        host = RayHost(learner, actor)
        try:
            yield host
        finally:
            host.stop()


def _connect(ray: Any, config: ParallelConfig, cpus: int) -> None:
    path = [entry or os.getcwd() for entry in sys.path]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys(entry for entry in path if os.path.isdir(entry))
    )
    local = {} if config.address else {"num_cpus": max(cpus, 1), "include_dashboard": False}
    ray.init(
        address=config.address or "local",
        namespace="querist",
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": environment},
        **local,
    )


def _check_room(has: dict[str, float], cpus: int, gpus: int, learners: int) -> None:
    for kind, each in (("CPU", cpus), ("GPU", gpus)):
        if each * learners > has.get(kind, 0):
            raise ConfigurationError(
                f"{learners} learners at once with {each} {kind}s each need {each * learners}, and "
                f"the Ray cluster has {has.get(kind, 0):g}: lower parallel.max_parallel or "
                "parallel.resources"
            )


class RayHost(RemoteHost):
    """Carries out a learner's steps in a Ray actor."""

    def __init__(self, learner: str, actor: Any) -> None:
        super().__init__("Ray actor", learner)
        self._actor = actor

    async def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        from ray.exceptions import RayActorError, RayTaskError

        stream = self._actor.carry_out.options(num_returns="streaming")
        try:
            async for said in stream.remote(run, step, args):
                kind, content = await said
                if kind == "result":
                    return content
                pass_on(kind, content)
        except RayActorError as error:
            raise self._died(error) from None
        except RayTaskError as error:
            raise self._died(error) from error
        except asyncio.CancelledError:
            self.stop()
            raise
        raise self._died("its answer is missing")

    def stop(self) -> None:
        """End the actor, in the middle of a step if need be."""
        import ray

        with suppress(Exception):  # the cluster may be gone
            ray.kill(self._actor, no_restart=True)
