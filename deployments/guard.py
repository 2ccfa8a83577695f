"""Runs a command that must not outlive us: `python -m querist.deployments.guard PARENT COMMAND...`.

Servers start processes of their own, which a signal to the server alone may leave behind. The guard
leads a process group of its own: at SIGTERM, or when its parent is gone (however it went), it ends
the command, and what is left of the group is killed after a while.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

GRACE_SECONDS = 12.0
"""How long a command may take to end."""
_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


def start_guarded(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: IO[bytes],
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` so that it and all that it starts end with this process.

    Args:
        command: what to run.
        environment: all of its environment.
        log: where its output goes.
        descriptors: open files that it inherits.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "querist.deployments.guard", str(os.getpid()), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=descriptors,
        start_new_session=True,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command to its end; returns its exit code."""
    parent, command = int(arguments[0]), arguments[1:]
    asked: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    child = subprocess.Popen(command, close_fds=False)
    until: float | None = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_POLL_SECONDS)
            break
        if until is None and (asked or os.getppid() != parent):
            until = time.monotonic() + GRACE_SECONDS
            child.terminate()
        if until is not None and time.monotonic() > until:
            child.kill()
    _end_the_rest(until or time.monotonic() + GRACE_SECONDS)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end_the_rest(until: float) -> None:
    """Ask the others of the group to end, then kill them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = _others()
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        while _others() and time.monotonic() < until and left:
            time.sleep(_POLL_SECONDS)


def _others() -> list[int]:
    """The living processes of our group, without ourselves (none where there is no /proc)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == os.getpgrp() and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return [process for process in found if process != os.getpid()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
