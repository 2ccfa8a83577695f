"""Hosts that are child processes: a run's steps can be stopped there, and crash there alone."""

from __future__ import annotations

import asyncio
import atexit
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from querist.commands.environment import NOT_FOR_STEPS
from querist.progress import tell
from querist.runs.host import HostDiedError, Step, in_thread
from querist.runs.open import close_run
from querist.runs.reference import RunReference
from querist.runs.served_steps import serve_forked

_LOOK_SECONDS = 1.0


def pass_on(kind: str, content: Any) -> None:
    """What a step elsewhere says is said here.

    Raises:
        BaseException: what the step raised.
    """
    if kind == "progress":
        tell(content)
    elif kind == "log":
        logging.getLogger(content.name).handle(content)
    elif kind == "error":
        with suppress(AttributeError):
            content.in_the_log = True  # with its traceback, where the step was carried out
        raise content


class ProcessHost:
    """Carries out steps in a child process, one at a time.

    Args:
        connection: where the child takes steps and answers (see `serve`).

    Attributes:
        hang_seconds: a child that says nothing and computes nothing for so long during a step is
            ended; None = it is waited for.
        step_seconds: so is one whose step lasts longer than this.
    """

    hang_seconds: float | None = None
    step_seconds: float | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._waiting = ThreadPoolExecutor(1, "querist-host")

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)` in the child."""
        return await self._or_stop(None, step, args)

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` in the child."""
        return await self._or_stop(run, step, args)

    async def _or_stop(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        """Who cancels a step ends the child in the middle of it."""
        try:
            return await in_thread(self._waiting, self._ask, run, step, args)
        except asyncio.CancelledError:
            self.stop()
            raise

    async def release(self, run: RunReference) -> None:
        """Close the run in the child; nothing to do when the child is gone."""
        if self.alive():
            await in_thread(self._waiting, self._ask, None, close_run, (run,))

    def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        with self._turn:
            try:
                self._connection.send((run, step, args))
            except OSError:
                raise self._died() from None
            watch = _Watch(self.process_id, self.hang_seconds, self.step_seconds)
            while True:
                kind, content = self._receive(watch)
                if kind == "result":
                    return content
                if kind != "alive":
                    pass_on(kind, content)

    def _receive(self, watch: _Watch) -> Any:
        try:
            while not self._connection.poll(_LOOK_SECONDS):
                # What user code has forked may hold the child's end open: no EOF tells its death.
                if not self.alive() and not self._connection.poll():
                    raise EOFError
                self._end_if_hanging(watch)
            watch.heard()
            self._end_if_hanging(watch)
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None

    def _end_if_hanging(self, watch: _Watch) -> None:
        why = watch.hanging()
        if why is not None:
            self.kill()
            raise HostDiedError(
                f"the process that carried out the run {why} and was ended: `querist resume` goes "
                "on where the run stands"
            )

    def _died(self) -> HostDiedError:
        return HostDiedError(
            f"the process that carried out the run ended {_how(self.exit_code())}: "
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

    def kill(self) -> None:
        """End the child at once; one that was stopped by a signal as well."""
        raise NotImplementedError

    @property
    def process_id(self) -> int:
        """The child's."""
        raise NotImplementedError


class _Watch:
    """Whether a process hangs: it says nothing, and computes nothing.

    One that computes without saying a word is at work, and one that waits for somebody says that
    it is there.
    """

    def __init__(self, process: int, hang: float | None, whole: float | None) -> None:
        self._stat = Path(f"/proc/{process}/stat")
        self._hang, self._whole = hang, whole
        self._began = self._last = time.monotonic()
        self._computed = self._computing()

    def heard(self) -> None:
        """It has said something."""
        self._last = time.monotonic()

    def hanging(self) -> str | None:
        """In which way it hangs; None while it does not."""
        now = time.monotonic()
        if self._whole is not None and now - self._began > self._whole:
            return f"took longer than {self._whole:g} s for a step"
        if self._hang is None or now - self._last <= self._hang:
            return None
        computed = self._computing()
        if computed is None or computed != self._computed:
            self._computed, self._last = computed, now
            return None
        return f"said and did nothing for {self._hang:g} s"

    def _computing(self) -> tuple[str, str] | None:
        """The processor time that it has used; None where the system does not say."""
        try:
            fields = self._stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return fields[11], fields[12]


def _how(exit_code: int | None) -> str:
    """How a process ended, in words: a signal by its name."""
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"


class ForkedHost(ProcessHost):
    """Carries out steps in a fork of this process, which has loaded all that it needs.

    Must be made while this process has no other threads and has not imported Prefect.
    """

    def __init__(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process: BaseProcess = context.Process(
            target=serve_forked, args=(theirs, ours, os.getpid()), name="querist-run", daemon=True
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

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.pid or 0

    def kill(self) -> None:
        """End the child at once; one that was stopped by a signal as well."""
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        """End the child, in the middle of a step if need be."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self.kill()


class SpawnedHost(ProcessHost):
    """Carries out steps in a new Python process, which may be made at any time.

    The child has a session of its own: a signal to this process's group is answered here, and the
    child with all that user code started in it is ended from here. Its environment lacks the
    credentials of servers.

    The child is killed when the thread that made this object ends (see prctl(2)).

    Args:
        more: what its environment has besides ours.
    """

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        ours, theirs = multiprocessing.Pipe()
        path = [entry or os.getcwd() for entry in sys.path]
        environment = {k: v for k, v in os.environ.items() if k not in NOT_FOR_STEPS}
        environment |= dict(more or {})
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

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.pid

    def kill(self) -> None:
        """End the child at once; one that was stopped by a signal as well."""
        self.stop()

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
