"""A guarded command and all that it started end with whoever started the guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import environment

# Starts a grandchild that ignores SIGTERM in the same group, and says both ids.
STUBBORN = (
    "import os, signal, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', "
    "'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'])\n"
    "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')\n"
    "time.sleep(float(sys.argv[2]))\n"
    "sys.exit(7)\n"
)
PARENT = (
    "import os, sys, time\n"
    "from querist.deployments import guard\n"
    "started = guard.start_guarded(sys.argv[1:], os.environ, sys.stderr.buffer)\n"
    "sys.exit(started.wait())\n"
)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(file: Path, seconds: float) -> tuple[subprocess.Popen[bytes], list[int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, "-c", STUBBORN, str(file), str(seconds)],
        env=environment(),
    )
    until = time.monotonic() + 20
    while not (file.exists() and len(file.read_text().split()) == 2):
        assert time.monotonic() < until
        time.sleep(0.05)
    return parent, [int(pid) for pid in file.read_text().split()]


def test_a_parent_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, processes = start(tmp_path / "ids", 60)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 18
    while any(map(alive, processes)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, processes))


def test_a_command_that_ends_leaves_nothing_and_says_how(tmp_path: Path) -> None:
    parent, processes = start(tmp_path / "ids", 0.0)
    assert parent.wait(18) == 7
    assert not any(map(alive, processes))
