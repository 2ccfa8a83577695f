"""What the first rank tells the process that started it, line by line in a file."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from querist.training.job import EpochReport

EPOCH, LOG = "epoch", "log"


class Says:
    """Appends lines to a file, each whole.

    Args:
        path: the file; what another process has left half-written in it is closed off.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def say(self, kind: str, content: Any) -> None:
        """Append one message, which is plain data."""
        os.write(self._file, f"{json.dumps([kind, content])}\n".encode())

    def epoch(self, report: EpochReport) -> None:
        """Where training is."""
        self.say(EPOCH, asdict(report))


class SaysLog(logging.Handler):
    """A handler that passes log records on."""

    def __init__(self, says: Says) -> None:
        super().__init__(logging.INFO)
        self._says = says

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on: its logger, its level, its words."""
        try:
            self._says.say(LOG, [record.name, record.levelno, record.getMessage()])
        except Exception:
            self.handleError(record)


class Hears:
    """Reads the lines of a file that grows, or is not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> list[tuple[str, Any]]:
        """What was said since the last call; a line that somebody died over is left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                kind, said = json.loads(line)
            except ValueError:
                continue
            found.append((kind, said))
        return found
