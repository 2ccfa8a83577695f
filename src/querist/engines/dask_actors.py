"""Learners on Dask: an actor each, alone on a worker of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from querist.config.parallel import ParallelConfig
from querist.engines.remote import RemoteHost, RemoteSteps
from querist.errors import ConfigurationError
from querist.runs.host import Host, HostDiedError, Step
from querist.runs.process_host import pass_on
from querist.runs.reference import RunReference

_LOOK_SECONDS = 0.5
RESTART_SECONDS = 10.0


class DaskEngine:
    """An actor for each learner, on a worker that no other learner of this run is on.

    Args:
        client: the connection to the cluster.
        gpus: units of the worker resource `GPU` that each takes.
    """

    def __init__(self, client: Any, gpus: int) -> None:
        self._client = client
        self._gpus = gpus
        self._taken: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: ParallelConfig, learners: int) -> AsyncIterator[DaskEngine]:
        """The engine on the cluster at `parallel.address`, or on one of this machine alone.

        Raises:
            ConfigurationError: Dask is not installed, or the cluster has too few workers.
        """
        try:
            from distributed import Client, LocalCluster
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "parallel.where 'dask' needs Dask: pip install 'querist[dask]'"
            ) from error
        if config.resources.gpus and not config.address:
            raise ConfigurationError(
                "a Dask cluster of this machine alone deals out no GPUs: set parallel.where to "
                "processes or ray, or parallel.address to a cluster whose workers have the "
                "resource GPU"
            )
        make_client: Any = Client
        if config.address:
            async with make_client(config.address, asynchronous=True) as client:
                engine = cls(client, config.resources.gpus)
                await engine.check_room(learners)
                yield engine
            return
        make_cluster: Any = LocalCluster
        async with (
            make_cluster(
                n_workers=learners,
                threads_per_worker=1,
                processes=True,
                asynchronous=True,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                memory_limit=0,
            ) as cluster,
            make_client(cluster, asynchronous=True) as client,
        ):
            yield cls(client, 0)

    async def check_room(self, learners: int) -> None:
        """Refuse more learners than there are workers for.

        Raises:
            ConfigurationError: there are too few.
        """
        workers = len(await self._workers())
        if workers < learners:
            raise ConfigurationError(
                f"{learners} learners at once need as many Dask workers"
                f"{f' with {self._gpus} GPUs' if self._gpus else ''}, and there are {workers}: "
                "lower parallel.max_parallel"
            )

    async def _workers(self) -> list[str]:
        """Workers that have what a learner needs."""
        return [
            address
            for address, worker in (await workers_of(self._client)).items()
            if worker.get("resources", {}).get("GPU", 0) >= self._gpus
        ]

    @asynccontextmanager
    async def host(self, learner: str) -> AsyncIterator[Host]:
        """An actor on a worker of its own."""
        free = [worker for worker in await self._workers() if worker not in self._taken]
        if not free:
            raise HostDiedError(
                f"no Dask worker is left for {learner}: start workers, then `querist resume`"
            )
        worker = free[0]
        self._taken.add(worker)
        try:
            future = self._client.submit(
                RemoteSteps,
                actor=True,
                workers=[worker],
                allow_other_workers=False,
                resources={"GPU": self._gpus} if self._gpus else None,
                pure=False,
            )
            yield DaskHost(learner, await future, self._client, worker)
        finally:
            self._taken.discard(worker)


class DaskHost(RemoteHost):
    """Carries out a learner's steps in a Dask actor. What they say comes when each is over."""

    def __init__(self, learner: str, actor: Any, client: Any, worker: str) -> None:
        super().__init__("Dask actor", learner)
        self._actor = actor
        self._client = client
        self._worker = worker

    async def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        answer = asyncio.ensure_future(_awaited(self._actor.all_of(run, step, args)))
        try:
            while not answer.done():
                await asyncio.wait([answer], timeout=_LOOK_SECONDS)
                # An actor whose worker has died never answers.
                if not answer.done() and self._worker not in await workers_of(self._client):
                    raise self._died("its worker is gone")
            said = answer.result()
        except HostDiedError:
            answer.cancel()
            raise
        except asyncio.CancelledError:
            # An actor cannot be stopped, its worker can: the nanny starts another one.
            await self._client.restart_workers(
                [self._worker], timeout=RESTART_SECONDS, raise_for_error=False
            )
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise self._died(error) from None
        for kind, content in said:
            if kind == "result":
                return content
            pass_on(kind, content)
        raise self._died("its answer is missing")


async def workers_of(client: Any) -> dict[str, Any]:
    """The workers of the cluster now, by address."""
    found: dict[str, Any] = (await client.scheduler.identity(n_workers=-1))["workers"]
    return found


async def _awaited(future: Any) -> Any:
    return await future
