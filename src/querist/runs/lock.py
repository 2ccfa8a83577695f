"""One writer to a run: a file lock that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from querist.errors import RunLockedError
from querist.storage.atomic import storage_errors
from querist.storage.store import store

LOCK_FILE = "run.lock"


class RunLock:
    """Holds `run.lock` in a run's folder.

    Args:
        folder: the run's folder.
        probe: only find out whether it is free; the holder's name is not written.

    Raises:
        RunLockedError: another process holds it; the message names its pid and host.
    """

    def __init__(self, folder: Path, *, probe: bool = False) -> None:
        path = folder / LOCK_FILE
        with storage_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._take(folder.name, probe)
            except BaseException:
                # A descriptor that nobody knows would hold the lock as long as the process lives.
                os.close(self._descriptor)
                raise

    def _take(self, run_id: str, probe: bool) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 1000, 0).decode(errors="replace")
            raise RunLockedError(run_id, _describe(holder)) from None
        if not probe:
            content = {"pid": os.getpid(), "host": socket.gethostname()}
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(content).encode(), 0)

    @classmethod
    def taken_over(cls, folder: Path) -> RunLock:
        """The lock of a run, taken from a process that may live: it is fenced off by the ledger."""
        store().remove(folder / LOCK_FILE)
        return cls(folder)

    def release(self) -> None:
        """Let others work on the run."""
        os.close(self._descriptor)


def lock_holder(folder: Path) -> str | None:
    """Who works on the run in `folder`, in words; None when nobody does."""
    try:
        RunLock(folder, probe=True).release()
    except RunLockedError as error:
        return error.holder
    return None


def _describe(holder: str) -> str:
    try:
        content = json.loads(holder)
        return f"process {content['pid']} on host {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
