"""A program at work: its output goes to the log as it comes, and nothing of it outlives us."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

MOST_OF_A_LINE = 2_000
"""Characters of a line that the log shows."""
MOST_LINES = 5_000
"""Lines of one command that the log shows."""
LONGEST_ANSWER = 32 * 2**20
"""Bytes that the last line of stdout may have."""
KEPT_LINES = 20
"""Lines of stderr that an error repeats."""
_LOOK_SECONDS = 0.5
_MEANWHILE_SECONDS = 0.1
_END_SECONDS = 15.0
_GUARD = Path(__file__).with_name("guard.py")
_log = logging.getLogger("querist.commands")
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Commands that are run inside, in this thread, are killed once `event` is set."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        how: `exit`, `signal`, `timeout`, `stopped`, `busy` (another one is in the folder),
            `missing` (it could not be started), or `lost` (its guard was killed).
        detail: exit code, number of the signal, or words.
        last_line: the last line of stdout that is not empty; None where it was too long.
        errors: the last lines of stderr.
    """

    how: str
    detail: str
    last_line: str | None
    errors: tuple[str, ...]


def run_process(
    argv: Sequence[str],
    *,
    name: str,
    folder: Path,
    lock: Path,
    environment: Mapping[str, str],
    timeout_seconds: float | None = None,
    cores: Sequence[int] = (),
    meanwhile: Callable[[], None] | None = None,
) -> Ended:
    """Run a program to its end, or kill it and all that it started.

    Args:
        argv: the program and its arguments.
        name: what its lines in the log begin with.
        folder: its working directory.
        lock: the file that is locked while it runs.
        environment: all of its environment.
        timeout_seconds: how long it may take.
        cores: the cores that it may use; none = all of ours.
        meanwhile: called again and again while it runs; what it raises ends the program.
    """
    said, says = os.pipe()
    guard = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(says), str(lock)]
    try:
        process = subprocess.Popen(
            [*guard, ",".join(map(str, cores)), *argv],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[says],
            start_new_session=True,
        )
    finally:
        os.close(says)
    out, errors = _Lines(name), _Lines(name)
    late = True
    try:
        late = _follow(process, out, errors, timeout_seconds, meanwhile)
    finally:
        _end(process)
        with os.fdopen(said, "rb") as status:
            words = status.read().decode().split("\n")[0]
    how, _, detail = words.partition(" ")
    if late:
        how, detail = "timeout", f"{timeout_seconds:g}"
    return Ended(how or "lost", detail, out.last, tuple(errors.tail))


def _follow(
    process: subprocess.Popen[bytes],
    out: _Lines,
    errors: _Lines,
    seconds: float | None,
    meanwhile: Callable[[], None] | None,
) -> bool:
    """Log what it prints until it ends; True when it did not end in time."""
    until = None if seconds is None else time.monotonic() + seconds
    stop = _stop.get() or threading.Event()
    look = _LOOK_SECONDS if meanwhile is None else _MEANWHILE_SECONDS
    meanwhile = meanwhile or _nothing
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ, out)
        pipes.register(process.stderr, selectors.EVENT_READ, errors)
        while pipes.get_map() and not stop.is_set():
            meanwhile()
            wait = look
            if until is not None:
                wait = min(wait, until - time.monotonic())
                if wait <= 0:
                    return process.poll() is None
            ready = pipes.select(wait)
            for key, _ in ready:
                content = os.read(key.fd, 65536)
                if content:
                    key.data.take(content)
                else:
                    pipes.unregister(key.fileobj)
            if not ready and process.poll() is not None:
                break  # a descendant that could not be killed holds the pipe
        out.finish()
        errors.finish()
    while process.poll() is None and not stop.is_set():
        meanwhile()
        if until is not None and time.monotonic() > until:
            return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(look if until is None else min(look, 0.05))
    return False


def _nothing() -> None:
    pass


def _end(process: subprocess.Popen[bytes]) -> None:
    """The guard kills what is left and ends; if it does not, it is killed with its group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@dataclass
class _Lines:
    """Lines out of a pipe: to the log, the last ones kept.

    Attributes:
        last: the last line that is not empty; None where it was too long.
        tail: the last few lines, shortened.
    """

    name: str
    last: str | None = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _open: bytearray = field(default_factory=bytearray)
    _too_long: bool = False
    _count: int = 0

    def take(self, content: bytes) -> None:
        """What came next."""
        *whole, rest = content.split(b"\n")
        for part in whole:
            self._add(part)
            self._line()
        self._add(rest)

    def finish(self) -> None:
        """Nothing more comes: a line without an end is one, too."""
        if self._open or self._too_long:
            self._line()
        if self._count > MOST_LINES:
            _log.info("%s: %d more lines are not shown", self.name, self._count - MOST_LINES)

    def _add(self, part: bytes) -> None:
        if len(self._open) + len(part) > LONGEST_ANSWER:
            self._too_long = True
        else:
            self._open += part

    def _line(self) -> None:
        # A progress bar goes back to the line's beginning: what it shows last counts.
        text = bytes(self._open).decode(errors="replace").rstrip().rpartition("\r")[2]
        self._open.clear()
        if not text and not self._too_long:
            return
        self.last = None if self._too_long else text
        self._too_long = False
        shown = text if len(text) <= MOST_OF_A_LINE else f"{text[:MOST_OF_A_LINE]}..."
        self.tail.append(shown)
        self._count += 1
        if self._count <= MOST_LINES:
            _log.info("%s: %s", self.name, shown)
