from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from querist.errors import RunLockedError, StorageError
from querist.runs.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from querist.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_the_holder_is_named_and_its_death_frees_the_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError) as error:
            RunLock(tmp_path)
        message = str(error.value)
        assert f"run {tmp_path.name} is being worked on" in message
        assert f"process {process.pid} on host {socket.gethostname()}" in message
        assert "wait for it" in message
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    RunLock(tmp_path).release()


def test_released_and_taken_again(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
        RunLock(tmp_path)
    lock.release()
    RunLock(tmp_path).release()


def test_a_lock_file_with_rubbish_in_it(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_bytes(b"\xff" * 5000)
    lock = RunLock(tmp_path)
    assert f'"pid": {os.getpid()}' in (tmp_path / "run.lock").read_text()
    (tmp_path / "run.lock").write_text("[]")
    with pytest.raises(RunLockedError, match="another process"):
        RunLock(tmp_path)
    lock.release()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"run\.lock could not be written"):
        RunLock(tmp_path / "nothing")
