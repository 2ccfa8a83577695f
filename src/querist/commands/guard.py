"""Runs one program so that nothing of it is left behind: `python guard.py PARENT STATUS LOCK ...`.

It leads a session of its own. The program and all that it starts are killed when the program ends,
when it is told to stop (SIGTERM), and when its parent is gone, however it went. It holds the lock
of the work folder for as long as any of them lives: whoever resumes a run that was killed waits
until the programs of the former process are gone.

Run by its path and without site-packages, since it starts with every command: 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WAIT_FOR_OTHERS_SECONDS = 15.0
_KILL_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_LINUX = sys.platform == "linux"


def main(arguments: list[str]) -> None:
    """Run the program to its end, and say in the status pipe how it ended."""
    parent, status, lock, cores, *argv = arguments
    asked: list[int] = []
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes our child

    def stopped() -> bool:
        return bool(asked) or os.getppid() != int(parent)

    os.set_inheritable(int(status), False)
    if not _take(lock, stopped):
        _say(int(status), "stopped" if stopped() else "busy")
        return
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(map(int, cores.split(","))))
    program = _start(argv, int(status))
    ended: int | None = None
    while ended is None and not stopped():
        select.select([woken], [], [], _LOOK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        ended = _reap(program)
    if _LINUX:
        _kill_all()
    _say(int(status), _in_words(ended))
    if not _LINUX:  # where descendants cannot be listed the group goes, and we with it
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _prctl(what: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(what, value)


def _take(lock: str, stopped: Callable[[], bool]) -> bool:
    """The lock of the work folder, which lasts as long as this process."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _WAIT_FOR_OTHERS_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until or stopped():
                return False
            time.sleep(0.02)


def _start(argv: list[str], status: int) -> int:
    program = os.fork()
    if program:
        return program
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in ("SIGTERM", "SIGCHLD", "SIGINT", "SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, number), signal.SIG_DFL)
        os.execvp(argv[0], argv)
    except OSError as error:
        _say(status, f"missing {error.strerror}")
    finally:
        os._exit(127)


def _reap(program: int) -> int | None:
    """The program's wait status once it has ended; orphans that end are let go."""
    with contextlib.suppress(ChildProcessError):
        while True:
            process, how = os.waitpid(-1, os.WNOHANG)
            if process == program:
                return how
            if process == 0:
                return None
    return None


def _kill_all() -> None:
    """Kill what descends from us, and what it starts while we do so."""
    until = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < until:
        left = _descendants()
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        _reap(-1)
        if not left:
            return
        time.sleep(0.002)


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
    found: list[int] = []
    wanted = {os.getpid()}
    while wanted:
        wanted = {process for process, parent in parents.items() if parent in wanted}
        found += wanted
    return found


def _in_words(ended: int | None) -> str:
    if ended is None:
        return "stopped"
    if os.WIFSIGNALED(ended):
        return f"signal {os.WTERMSIG(ended)}"
    return f"exit {os.WEXITSTATUS(ended)}"


def _say(status: int, words: str) -> None:
    with contextlib.suppress(OSError):
        os.write(status, f"{words}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
