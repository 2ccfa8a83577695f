"""What a run leaves for the tracker: one JSON object a line, in order, in `tracking.jsonl`.

The run appends and never waits for anybody; the deliverer reads behind it. Each line is flushed to
the operating system, so it outlives the run's process; the deliverer syncs the file to disk before
it notes how far it got, so that a power cut cannot make it skip events.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from querist.errors import StorageError

SPOOL_FILE = "tracking.jsonl"
_ENVELOPE = ("seq", "time", "kind")


@dataclass(frozen=True)
class Event:
    """One thing that the tracker shall hear.

    Attributes:
        seq: 1, 2, 3, ... in the order they were written.
        time: when it was written, seconds since 1970.
        kind: `start`, `metrics`, `artifact`, `model`, `tags` or `end`.
        payload: what else the line says.
    """

    seq: int
    time: float
    kind: str
    payload: Mapping[str, Any]


class UndeliverableError(Exception):
    """One event that cannot be delivered, however often it is tried; the message says why."""


class TrackingSpool:
    """The spool in a run's folder. One process writes at a time; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / SPOOL_FILE
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._seq = 0

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._folder

    def append(self, kind: str, **payload: Any) -> None:
        """Write one event. What JSON does not know is written as text.

        Raises:
            StorageError: the disk refused; the spool is as it was.
        """
        taken = sorted(set(payload) & set(_ENVELOPE))
        if taken:
            raise ValueError(f"an event's payload may not use the key {taken[0]!r}: rename it")
        with self._lock:
            file = self._open()
            event = {"seq": self._seq + 1, "time": time.time(), "kind": kind, **payload}
            line = json.dumps(event, default=_plain).encode() + b"\n"
            end = file.tell()
            try:
                _write_whole(file, line)
            except OSError as error:
                file.truncate(end)
                file.seek(end)
                raise StorageError(
                    f"{self._path} cannot be written, {error.strerror}: make room and resume"
                ) from error
            self._seq += 1

    def events(self, after_seq: int = 0) -> list[Event]:
        """All whole events behind `after_seq`. Reading never changes the file."""
        return [event for event in SpoolReader(self._folder).read() if event.seq > after_seq]

    def close(self) -> None:
        """Close the file; another `append` opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> BinaryIO:
        """The file, open behind its last whole event; what a crash left behind that is cut off."""
        if self._file is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                file = os.fdopen(descriptor, "r+b", buffering=0)
            except OSError as error:
                raise StorageError(
                    f"{self._path} cannot be opened, {error.strerror}: check the run's folder"
                ) from error
            end, self._seq = _last_event(file.read())
            file.truncate(end)
            file.seek(end)
            self._file = file
        return self._file


class SpoolReader:
    """Reads a spool that somebody may still be writing; each event comes once, in order.

    Attributes:
        damaged: how many whole lines were no events.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SPOOL_FILE
        self._offset = 0
        self._seq = 0
        self.damaged = 0

    def read(self) -> list[Event]:
        """The events since the last call; a line that is not whole yet is left for the next."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content.rfind(b"\n") + 1
        self._offset += whole
        events = []
        for line in content[:whole].splitlines():
            event = _parse(line)
            if event is None:
                self.damaged += 1
            elif event.seq > self._seq:
                events.append(event)
                self._seq = event.seq
        return events

    def sync(self) -> None:
        """Have what was read on disk: nothing that was delivered may be missing after a crash."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def spool_id(folder: Path) -> str | None:
    """What tells this spool from all others: a digest of its first line; None while it is empty.

    A copy of a run's folder has the same one, so a run that is delivered from two places is
    still one run in the tracker.
    """
    try:
        with (folder / SPOOL_FILE).open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    return hashlib.sha256(line).hexdigest()[:32] if line.endswith(b"\n") else None


def _write_whole(file: BinaryIO, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[file.write(left) :]


def _last_event(content: bytes) -> tuple[int, int]:
    """Where the last whole line ends, and the seq of the last event up to there.

    A whole line that is no event stays: a reader may be past it already.
    """
    end = content.rfind(b"\n") + 1
    for line in reversed(content[:end].splitlines()):
        event = _parse(line)
        if event is not None:
            return end, event.seq
    return end, 0


def _parse(line: bytes) -> Event | None:
    try:
        content = json.loads(line)
        seq, at, kind = (content.pop(key) for key in _ENVELOPE)
        return Event(seq=int(seq), time=float(at), kind=str(kind), payload=content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """A number for a numpy or torch scalar, a list for an array, text for anything else."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else str(value)
