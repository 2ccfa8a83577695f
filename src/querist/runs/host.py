"""Where the steps of a run are carried out: in this process, or in one of their own.

Flows ask the host for steps by name and get small values back; only the host has models and data.
`LocalHost` uses a thread of this process. `ForkedHost` uses a child process, so that training does
not share Python's lock with Prefect's client, and can be stopped at once: what is durable is
durable, and a step that was cut off is done again by the next resume.
"""

from __future__ import annotations

import asyncio
import copy
import ctypes
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from querist.errors import QueristError, RunError
from querist.progress import tell, watched_by
from querist.runs.open import close_run, open_run
from querist.runs.reference import RunReference

Step = Callable[..., Any]
"""A function of an open run (or, for steps that make one, of what they are given)."""

PR_SET_PDEATHSIG = 1
_log = logging.getLogger(__name__)


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
    """Carries out steps in threads of this process; who cancels waits for the step to end."""

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)`."""
        return await self._to_its_end(lambda: step(*args))

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` on the open run."""
        return await self._to_its_end(lambda: step(open_run(run), *args))

    async def _to_its_end(self, call: Callable[[], Any]) -> Any:
        """A thread cannot be stopped, and its run must not be closed while it works on it."""
        thread = asyncio.ensure_future(asyncio.to_thread(call))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            await asyncio.wait([thread])
            raise

    async def release(self, run: RunReference) -> None:
        """Close the run."""
        close_run(run)


class HostDiedError(RunError):
    """The process that carried out a run's steps is gone."""


class ForkedHost:
    """Carries out steps in a child process.

    Must be made while this process has no other threads and has not imported Prefect.
    """

    def __init__(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, ours, os.getpid()), name="querist-run", daemon=True
        )
        self._process.start()
        theirs.close()
        self._connection = ours
        self._turn = threading.Lock()

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)` in the child."""
        return await self._or_stop(None, step, args)

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` in the child."""
        return await self._or_stop(run, step, args)

    async def _or_stop(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        """Who cancels a step ends the child in the middle of it."""
        try:
            return await asyncio.to_thread(self._ask, run, step, args)
        except asyncio.CancelledError:
            self.stop()
            raise

    async def release(self, run: RunReference) -> None:
        """Close the run in the child; nothing to do when the child is gone."""
        if self._process.is_alive():
            await asyncio.to_thread(self._ask, None, close_run, (run,))

    def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        with self._turn:
            try:
                self._connection.send((run, step, args))
                while True:
                    kind, content = self._connection.recv()
                    if kind == "progress":
                        tell(content)
                    elif kind == "log":
                        logging.getLogger(content.name).handle(content)
                    elif kind == "error":
                        with suppress(AttributeError):
                            content.in_the_log = True  # with its traceback, by the child
                        raise content
                    else:
                        return content
            except (EOFError, OSError) as error:
                if isinstance(error, RunError):
                    raise
                self._process.join(5)
                raise HostDiedError(
                    "the process that carried out the run ended with exit code "
                    f"{self._process.exitcode}: `querist resume` goes on where the run stands"
                ) from None

    def stop(self) -> None:
        """End the child, in the middle of a step if need be."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(connection: Connection, parents_end: Connection, parent: int) -> None:
    """The child's life: take a step, carry it out, answer; end with the parent."""
    parents_end.close()
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(parent)
    sending = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with sending:
            connection.send((kind, content))

    _forward_logs(send)
    with watched_by(lambda progress: send("progress", progress)):
        while True:
            try:
                run, step, args = connection.recv()
            except EOFError:
                return
            try:
                result = step(*args) if run is None else step(open_run(run), *args)
            except BaseException as error:
                if not isinstance(error, QueristError):
                    _log.exception("the step %s failed", getattr(step, "__name__", step))
                send("error", _portable(error))
            else:
                send("result", result)


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Forward(logging.Handler):
    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        sent = copy.copy(record)
        sent.msg, sent.args = record.getMessage(), None
        if record.exc_info:
            # A traceback does not travel, its words do.
            sent.exc_text = logging.Formatter().formatException(record.exc_info)
            sent.exc_info = None
        self._send("log", sent)


def _forward_logs(send: Callable[[str, Any], None]) -> None:
    """What Querist logs in the child is logged in the parent too, where Prefect picks it up."""
    logger = logging.getLogger("querist")
    logger.addHandler(_Forward(send))
    logger.propagate = False


def _portable(error: BaseException) -> BaseException:
    """The error itself if it can travel between processes, else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")
    return error


_host: Host = LocalHost()


def current_host() -> Host:
    """The host that flows use."""
    return _host


@contextmanager
def hosted_by(host: Host) -> Iterator[None]:
    """Flows inside use `host`."""
    global _host
    before, _host = _host, host
    try:
        yield
    finally:
        _host = before
