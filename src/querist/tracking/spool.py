"""What a run leaves for the tracker: one JSON object a line, in order, in `tracking.jsonl`.

The run appends and never waits for anybody; the deliverer reads behind it. Each line is handed to
the operating system, so it outlives the run's process; the deliverer syncs the file to disk before
it notes how far it got, so that a power cut cannot make it skip events. What a power cut takes from
the end of the file is said again by the run when it is resumed: an event that has a key of its own
(`once`) is there once, however often it is said.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from querist.errors import StorageError
from querist.storage.store import store

SPOOL_FILE = "tracking.jsonl"
_ENVELOPE = ("seq", "time", "kind")


@dataclass(frozen=True)
class Event:
    """One thing that the tracker shall hear.

    Attributes:
        seq: 1, 2, 3, ... in the order they were written.
        time: when it happened, seconds since 1970.
        kind: `start`, `metrics`, `curve`, `artifact`, `model`, `alias`, `version`, `registry`,
            `tags` or `end`.
        payload: what else the line says.
        once: what no other event of the spool is called; None for an event without a name.
    """

    seq: int
    time: float
    kind: str
    payload: Mapping[str, Any]
    once: str | None = None


class UndeliverableError(Exception):
    """One event that cannot be delivered, however often it is tried; the message says why."""


class TrackingSpool:
    """The spool in a run's folder. Several threads, and several processes, may append."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / SPOOL_FILE
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._forget()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._folder

    def append(
        self, kind: str, *, once: str | None = None, at: float | None = None, **payload: Any
    ) -> None:
        """Write one event. What JSON does not know is written as text.

        Args:
            kind: what sort of event.
            once: its name; an event with the same name that is there already stays the only one.
            at: when it happened, seconds since 1970. Default: now.
            **payload: what there is to say.

        Raises:
            StorageError: the disk refused; the spool is as it was.
        """
        taken = sorted(set(payload) & set(_ENVELOPE))
        if taken:
            raise ValueError(f"an event's payload may not use the key {taken[0]!r}: rename it")
        with self._writing() as file:
            if once is not None and once in self._names:
                return
            event = {"seq": self._seq + 1, "time": time.time() if at is None else at, "kind": kind}
            if once is not None:
                event["once"] = once
            line = json.dumps({**event, **payload}, default=_plain).encode() + b"\n"
            try:
                store().write(file, line)
            except OSError:
                store().truncate(file, self._end)
                raise
            self._take(line)

    def has(self, once: str) -> bool:
        """Whether an event of this name is there."""
        if not self._path.exists():
            return False
        with self._writing():
            return once in self._names

    def names(self, beginning: str) -> list[str]:
        """The names of events that begin so."""
        if not self._path.exists():
            return []
        with self._writing():
            return [name for name in self._names if name.startswith(beginning)]

    @property
    def status(self) -> str | None:
        """How the tracker sees the run: RUNNING, or as the last end says; None before its start."""
        if not self._path.exists():
            return None
        with self._writing():
            return self._status

    def sync(self) -> None:
        """Have every event on the disk.

        Raises:
            StorageError: the disk refused.
        """
        with self._writing() as file:
            store().sync(file)
            store().sync_folder(self._folder)

    def events(self, after_seq: int = 0) -> list[Event]:
        """All whole events behind `after_seq`. Reading never changes the file."""
        return [event for event in SpoolReader(self._folder).read() if event.seq > after_seq]

    def close(self) -> None:
        """Close the file; another `append` opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _forget(self) -> None:
        self._end = 0
        self._seq = 0
        self._status: str | None = None
        self._names: set[str] = set()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[BinaryIO]:
        """The file, behind its last whole event, for nobody else meanwhile."""
        with self._lock:
            try:
                store().make_folder(self._folder)
                file = self._open()
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    self._catch_up(file)
                    if os.fstat(file.fileno()).st_size > self._end:
                        store().truncate(file, self._end)  # half a line that a crash left
                    yield file
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)
            except OSError as error:
                # Whatever is half written now is cut off when the file is opened again.
                self._close()
                raise StorageError(
                    f"{self._path} cannot be written, {error.strerror or error}: make room or give "
                    "access, then resume; everything before is stored"
                ) from error

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = store().open(self._path, "a+b")
        return self._file

    def _catch_up(self, file: BinaryIO) -> None:
        """Take in the whole lines behind the last one known: another process may have written."""
        size = os.fstat(file.fileno()).st_size
        if size < self._end:
            self._forget()
        if size > self._end:
            file.seek(self._end)
            self._take(file.read())

    def _take(self, content: bytes) -> None:
        """Note the whole lines in `content`.

        A whole line that is no event stays in the file: a reader may be past it already.
        """
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            event = _parse(line)
            if event is None:
                continue
            self._seq = max(self._seq, event.seq)
            if event.once is not None:
                self._names.add(event.once)
            if event.kind == "start":
                self._status = "RUNNING"
            elif event.kind == "end":
                self._status = str(event.payload.get("status"))
        self._end += whole


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
        self._named = False

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
        with store().open(self._path, "rb") as file:
            store().sync(file)
        if not self._named:
            store().sync_folder(self._path.parent)
            self._named = True


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


def _parse(line: bytes) -> Event | None:
    try:
        content = json.loads(line)
        seq, at, kind = (content.pop(key) for key in _ENVELOPE)
        once = content.pop("once", None)
        return Event(seq=int(seq), time=float(at), kind=str(kind), payload=content, once=once)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """A number for a numpy or torch scalar, a list for an array, text for anything else."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else str(value)
