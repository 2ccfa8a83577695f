"""Learners in processes of this machine: the default for training on CPUs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from querist.config.parallel import ParallelConfig
from querist.engines.gpus import VISIBLE, GpuDealer
from querist.runs.host import Host
from querist.runs.process_host import ForkedHost, ProcessHost, SpawnedHost

_prepared: ContextVar[tuple[ForkedHost, ...]] = ContextVar("querist_forked_hosts", default=())


@contextmanager
def prepared(hosts: Sequence[ForkedHost]) -> Iterator[None]:
    """Inside, engines use these before they start processes of their own."""
    before = _prepared.set(tuple(hosts))
    try:
        yield
    finally:
        _prepared.reset(before)


class ProcessEngine:
    """A process for each learner. One that dies takes no other along.

    Args:
        config: when a process counts as hanging.
        dealer: the GPUs.
        forked: processes that were made before there were threads.
    """

    def __init__(
        self, config: ParallelConfig, dealer: GpuDealer, forked: Sequence[ForkedHost]
    ) -> None:
        self._config = config
        self._dealer = dealer
        # A forked process has no environment of its own that could hide GPUs from it.
        self._idle: list[ProcessHost] = [] if dealer.each else list(forked)

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: ParallelConfig, learners: int) -> AsyncIterator[ProcessEngine]:
        """The engine; its processes have ended afterwards."""
        engine = cls(config, GpuDealer(config.resources.gpus, learners), _prepared.get())
        try:
            yield engine
        finally:
            await asyncio.gather(*(asyncio.to_thread(host.stop) for host in engine._idle))

    @asynccontextmanager
    async def host(self, learner: str) -> AsyncIterator[Host]:
        """A process of its own: one that is idle, or a new one."""
        gpus = self._dealer.take()
        try:
            made = self._idle.pop() if self._idle else _spawn(gpus)
            made.hang_seconds = self._config.hang_seconds
            made.step_seconds = self._config.step_seconds
            try:
                yield made
            finally:
                # One with GPUs ends here: they are the next learner's.
                if made.alive() and not gpus:
                    self._idle.append(made)
                else:
                    made.stop()
        finally:
            self._dealer.give_back(gpus)


def _spawn(gpus: Sequence[str]) -> SpawnedHost:
    return SpawnedHost({VISIBLE: ",".join(gpus)} if gpus else None)
