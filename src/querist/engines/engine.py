"""What an engine is, and the one that a configuration names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from querist.config.parallel import ParallelConfig
from querist.errors import ConfigurationError
from querist.runs.host import Host
from querist.training.threads import cores


class Engine(Protocol):
    """Lends hosts to learners, as many at once as the configuration allows."""

    def host(self, learner: str) -> AbstractAsyncContextManager[Host]:
        """A host that is the learner's alone inside; what it had started has ended afterwards."""
        ...


@asynccontextmanager
async def open_engine(config: ParallelConfig, learners: int) -> AsyncIterator[Engine]:
    """The engine that `parallel.where` names; what it has started ends with the context.

    Args:
        config: where learners run, and what each gets.
        learners: how many there are at once.

    Raises:
        ConfigurationError: the engine is not installed, or has not what the learners need.
    """
    if config.where == "threads":
        from querist.engines.threads import ThreadEngine

        yield ThreadEngine()
    elif config.where == "processes":
        from querist.engines.processes import ProcessEngine

        async with ProcessEngine.opened(config, learners) as processes:
            yield processes
    elif config.where == "ray":
        from querist.engines.ray_actors import RayEngine

        async with RayEngine.opened(config, learners) as actors:
            yield actors
    elif config.where == "dask":
        from querist.engines.dask_actors import DaskEngine

        async with DaskEngine.opened(config, learners) as workers:
            yield workers
    else:
        raise ConfigurationError(
            f"parallel.where {config.where!r} lends no hosts: each learner is a flow run of its own"
        )


def cores_of_each(config: ParallelConfig, learners: int) -> int | None:
    """Cores of one learner: what is configured, else its share of this machine's.

    On Ray one, for which it asks by itself; None on a cluster of Dask, whose machines nobody knows.
    """
    if config.resources.cpus is not None:
        return config.resources.cpus
    if config.where == "ray":
        return 1
    return None if config.address else max(1, cores() // learners)
