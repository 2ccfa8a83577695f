"""Where the steps of a run are carried out: in this process, or in one of their own.

Flows ask the host for steps by name and get small values back; only the host has models and data.
`LocalHost` uses a thread of this process. `ForkedHost` and `SpawnedHost` use a child process, so
that training does not share Python's lock with Prefect's client, and can be stopped at once: what
is durable is durable, and a step that was cut off is done again by the next resume.

`QUERIST_HOST=process` in the environment makes `SpawnedHost` the host of flows that were given
none: whoever serves flows sets it, since a thread cannot be stopped.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from querist.commands.process import stopped_by
from querist.errors import ConfigurationError, QueristError, RunError
from querist.progress import tell, watched_by
from querist.runs.open import close_run, open_run
from querist.runs.reference import RunReference

Step = Callable[..., Any]
"""A function of an open run (or, for steps that make one, of what they are given)."""

HOST_VARIABLE = "QUERIST_HOST"
"""Where flows carry out the steps that were given no host: `thread` (the default) or `process`."""
NOT_FOR_STEPS = (
    "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
"""What the environment of a spawned host leaves out: steps talk to no server."""
PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 1.0
_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__)
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
            thread = asyncio.ensure_future(asyncio.to_thread(_awaitable, call))
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


class ProcessHost:
    """Carries out steps in a child process, one at a time.

    Args:
        connection: where the child takes steps and answers (see `serve`).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
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
        if self.alive():
            await asyncio.to_thread(self._ask, None, close_run, (run,))

    def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        with self._turn:
            try:
                self._connection.send((run, step, args))
            except OSError:
                raise self._died() from None
            while True:
                kind, content = self._receive()
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

    def _receive(self) -> Any:
        try:
            while not self._connection.poll(_LOOK_SECONDS):
                # What user code has forked may hold the child's end open: no EOF tells its death.
                if not self.alive() and not self._connection.poll():
                    raise EOFError
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None

    def _died(self) -> HostDiedError:
        return HostDiedError(
            f"the process that carried out the run ended with exit code {self.exit_code()}: "
            "`querist resume` goes on where the run stands"
        )

    def alive(self) -> bool:
        """Whether the child lives."""
        raise NotImplementedError

    def exit_code(self) -> int | None:
        """How the child ended; waits up to 5 s for its end."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the child, in the middle of a step if need be."""
        raise NotImplementedError


class ForkedHost(ProcessHost):
    """Carries out steps in a fork of this process, which has loaded all that it needs.

    Must be made while this process has no other threads and has not imported Prefect.
    """

    def __init__(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process: BaseProcess = context.Process(
            target=_serve_forked, args=(theirs, ours, os.getpid()), name="querist-run", daemon=True
        )
        self._process.start()
        theirs.close()
        super().__init__(ours)

    def alive(self) -> bool:
        """Whether the child lives."""
        return self._process.is_alive()

    def exit_code(self) -> int | None:
        """How the child ended; waits up to 5 s for its end."""
        self._process.join(5)
        return self._process.exitcode

    def stop(self) -> None:
        """End the child, in the middle of a step if need be."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class SpawnedHost(ProcessHost):
    """Carries out steps in a new Python process, which may be made at any time.

    The child has a session of its own: a signal to this process's group is answered here, and the
    child with all that user code started in it is ended from here. Its environment lacks the
    credentials of servers.

    The child is killed when the thread that made this object ends (see prctl(2)).
    """

    def __init__(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        path = [entry or os.getcwd() for entry in sys.path]
        environment = {k: v for k, v in os.environ.items() if k not in NOT_FOR_STEPS}
        environment["PYTHONPATH"] = os.pathsep.join(
            dict.fromkeys(entry for entry in path if os.path.isdir(entry))
        )
        command = [sys.executable, "-m", "querist.runs.spawned", str(theirs.fileno())]
        self._process = subprocess.Popen(
            [*command, str(os.getpid())],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        atexit.register(self.stop)
        super().__init__(ours)

    def alive(self) -> bool:
        """Whether the child lives."""
        return self._wait(0) is None

    def exit_code(self) -> int | None:
        """How the child ended; waits up to 5 s for its end."""
        return self._wait(5)

    def stop(self) -> None:
        """End the child and what it started, in the middle of a step if need be."""
        atexit.unregister(self.stop)
        if self.alive():
            self._kill_all()
            self._process.wait()

    def _wait(self, seconds: float) -> int | None:
        """Its exit code, once it has ended; what it had started ends with it."""
        if self._process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                self._kill_all()
        return self._process.returncode

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS may not kill what is dead
            os.killpg(self._process.pid, signal.SIGKILL)


def _serve_forked(connection: Connection, parents_end: Connection, parent: int) -> None:
    parents_end.close()
    gc.freeze()
    gc.enable()
    serve(connection, parent)


def serve(connection: Connection, parent: int) -> None:
    """The child's life: take a step, carry it out, answer; end with the parent."""
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
                send("result", step(*args) if run is None else step(open_run(run), *args))
            except BaseException as error:
                if not isinstance(error, QueristError):
                    _log.exception("the step %s failed", getattr(step, "__name__", step))
                send("error", _portable(error))


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
        try:
            sent = logging.makeLogRecord(
                {k: v for k, v in record.__dict__.items() if k in _OF_EVERY_RECORD}
            )
            sent.msg, sent.args = record.getMessage(), None
            if record.exc_info:
                # A traceback does not travel, its words do.
                sent.exc_text = logging.Formatter().formatException(record.exc_info)
                sent.exc_info = None
            self._send("log", sent)
        except Exception:
            self.handleError(record)


def _forward_logs(send: Callable[[str, Any], None]) -> None:
    """What Querist logs in the child is logged in the parent too, where Prefect picks it up."""
    logger = logging.getLogger("querist")
    logger.addHandler(_Forward(send))
    logger.propagate = False


def _portable(error: BaseException) -> BaseException:
    """The error itself if it can travel between processes, else its words."""
    if not _can_be_awaited(error):
        return _in_words(error)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return _in_words(error)
    return error


def _awaitable(call: Callable[[], Any]) -> Any:
    """What `call` gives, its errors such that a coroutine can wait for them."""
    try:
        return call()
    except BaseException as error:
        if _can_be_awaited(error):
            raise
        raise _in_words(error) from error


def _can_be_awaited(error: BaseException) -> bool:
    """Who awaits a StopIteration waits for ever; SystemExit and the like end the event loop."""
    return isinstance(error, Exception) and not isinstance(error, StopIteration)


def _in_words(error: BaseException) -> RunError:
    return RunError(f"{type(error).__name__}: {str(error) or 'without a message'}")


_given: Host | None = None
_local = LocalHost()
_spawned: SpawnedHost | None = None


def current_host() -> Host:
    """The host that flows use.

    Raises:
        ConfigurationError: `QUERIST_HOST` is neither `thread` nor `process`.
    """
    global _spawned
    if _given is not None:
        return _given
    wanted = os.environ.get(HOST_VARIABLE, "thread")
    if wanted == "thread":
        return _local
    if wanted != "process":
        raise ConfigurationError(f"{HOST_VARIABLE} is 'thread' or 'process', not {wanted!r}")
    if _spawned is None or not _spawned.alive():  # a new one when a step was cut off
        _spawned = SpawnedHost()
    return _spawned


@contextmanager
def hosted_by(host: Host) -> Iterator[None]:
    """Flows inside use `host`."""
    global _given
    before, _given = _given, host
    try:
        yield
    finally:
        _given = before
