"""Where the steps of a run are carried out: in this process, or in one of their own.

Flows ask the host for steps by name and get small values back; only the host has models and data.
`LocalHost` uses a thread of this process. `ForkedHost` and `SpawnedHost` (in `process_host`) use a
child process, so that training does not share Python's lock with Prefect's client, and can be
stopped at once: what is durable is durable, and a step that was cut off is done again by the next
resume.

`QUERIST_HOST=process` in the environment makes `SpawnedHost` the host of flows that were given
none: whoever serves flows sets it, since a thread cannot be stopped.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Protocol

from querist.commands.process import stopped_by
from querist.errors import ConfigurationError, RunError
from querist.runs.open import close_run, open_run
from querist.runs.reference import RunReference

if TYPE_CHECKING:
    from querist.runs.process_host import SpawnedHost

Step = Callable[..., Any]
"""A function of an open run (or, for steps that make one, of what they are given)."""

HOST_VARIABLE = "QUERIST_HOST"
"""Where flows carry out the steps that were given no host: `thread` (the default) or `process`."""


class Host(Protocol):
    """Carries out steps, one at a time for one run."""

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)`, which opens a run in the host."""
        ...

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` on the open run."""
        ...

    async def release(self, run: RunReference) -> None:
        """Close the run."""
        ...


class LocalHost:
    """Carries out steps in threads of this process.

    Who cancels waits for the step to end; a command that it runs is killed.
    """

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)`."""
        return await self._to_its_end(lambda: step(*args))

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` on the open run."""
        return await self._to_its_end(lambda: step(open_run(run), *args))

    async def _to_its_end(self, call: Callable[[], Any]) -> Any:
        """A thread cannot be stopped, and its run must not be closed while it works on it."""
        stop = threading.Event()
        with stopped_by(stop):  # the thread works in a copy of this context
            thread = asyncio.ensure_future(in_thread(_steps, _awaitable, call))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([thread])
            raise

    async def release(self, run: RunReference) -> None:
        """Close the run."""
        close_run(run)


class HostDiedError(RunError):
    """The process that carried out a run's steps is gone."""


def _awaitable(call: Callable[[], Any]) -> Any:
    """What `call` gives, its errors such that a coroutine can wait for them."""
    try:
        return call()
    except BaseException as error:
        if can_be_awaited(error):
            raise
        raise in_words(error) from error


def can_be_awaited(error: BaseException) -> bool:
    """Who awaits a StopIteration waits for ever; SystemExit and the like end the event loop."""
    return isinstance(error, Exception) and not isinstance(error, StopIteration)


def in_words(error: BaseException) -> RunError:
    """An error of ours that says what `error` says."""
    return RunError(f"{type(error).__name__}: {str(error) or 'without a message'}")


_given: ContextVar[Host | None] = ContextVar("querist_host", default=None)
_steps = ThreadPoolExecutor(64, "querist-step")
"""Threads for steps of this process: asyncio's own are as few as there are cores, and four more."""
_local = LocalHost()
_spawned: SpawnedHost | None = None


def current_host() -> Host:
    """The host that flows use.

    Raises:
        ConfigurationError: `QUERIST_HOST` is neither `thread` nor `process`.
    """
    global _spawned
    given = _given.get()
    if given is not None:
        return given
    wanted = os.environ.get(HOST_VARIABLE, "thread")
    if wanted == "thread":
        return _local
    if wanted != "process":
        raise ConfigurationError(f"{HOST_VARIABLE} is 'thread' or 'process', not {wanted!r}")
    if _spawned is None or not _spawned.alive():  # a new one when a step was cut off
        from querist.runs.process_host import SpawnedHost

        _spawned = SpawnedHost()
    return _spawned


@contextmanager
def hosted_by(host: Host) -> Iterator[None]:
    """Flows inside, and no others that go on beside them, use `host`."""
    before = _given.set(host)
    try:
        yield
    finally:
        _given.reset(before)


async def in_thread(threads: ThreadPoolExecutor, call: Callable[..., Any], *args: Any) -> Any:
    """As `asyncio.to_thread`, in one of `threads`."""
    return await asyncio.get_running_loop().run_in_executor(
        threads, copy_context().run, call, *args
    )
