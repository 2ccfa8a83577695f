"""The files in a run's folder that people and scripts read."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from querist.storage.atomic import storage_errors, write_file
from querist.storage.store import store

F1_KEYS = ("precision", "recall", "f1")
_log = logging.getLogger(__name__)


class DriverLog:
    """`driver_log.json`: one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "driver_log.json"

    def write(
        self, iteration: int, phase: str, event: str, seconds: float | None = None, **more: Any
    ) -> None:
        """Append one event."""
        line = {
            "time": time.time(),
            "iteration": iteration,
            "phase": phase,
            "event": event,
            "seconds": seconds,
            **{key: None if _is_no_number(value) else value for key, value in more.items()},
        }
        disk = store()
        with storage_errors(self._path), disk.open(self._path, "ab") as file:
            end = os.fstat(file.fileno()).st_size
            try:
                disk.write(file, json.dumps(line).encode() + b"\n")
            except OSError:
                with suppress(OSError):
                    disk.truncate(file, end)  # half a line would spoil the next one
                raise


def write_metrology(
    folder: Path, records: Mapping[int, tuple[int, Mapping[str, float]]], *, durable: bool = True
) -> None:
    """`metrology.json`, and `f1_metrology.json` where F1 was measured.

    Args:
        folder: the run's folder.
        records: labels and metric values by iteration.
        durable: whether a power cut must not take them; the ledger has the same numbers.
    """
    everything = [
        {"step": step, "num_train_samples": labels, **_finite(values)}
        for step, (labels, values) in sorted(records.items())
    ]
    write_file(
        folder / "metrology.json", json.dumps(everything, indent=1).encode(), durable=durable
    )
    of_f1 = [
        {key: record[key] for key in ("step", "num_train_samples", *F1_KEYS)}
        for record in everything
        if all(key in record for key in F1_KEYS)
    ]
    if of_f1:
        write_file(
            folder / "f1_metrology.json", json.dumps(of_f1, indent=1).encode(), durable=durable
        )


def read_metrology(folder: Path) -> list[dict[str, Any]]:
    """The records of `metrology.json`; none where nothing was measured."""
    path = folder / "metrology.json"
    if not path.exists():
        return []
    records: list[dict[str, Any]] = json.loads(path.read_bytes())
    return records


def _is_no_number(value: Any) -> bool:
    """Whether JSON has no word for a float."""
    return isinstance(value, float) and not math.isfinite(value)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a value that is not finite is null."""
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


class _LogFile(logging.Handler):
    """Appends lines to a file. A disk that refuses stops no run, and is heard about once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._refused = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
            # Opened each time and without a buffer, which would be written again when it is closed.
            with open(self._path, "ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            if not self._refused:
                self._refused = True
                _log.warning(
                    "%s cannot be written, %s: it will lack lines", self._path, error.strerror
                )
        except Exception:
            self.handleError(record)


class ConsoleLog:
    """`console.log`: what Querist's loggers say while the run is open.

    It is for people: nothing is read from it, so its lines go past the store and are not synced.
    """

    def __init__(self, folder: Path) -> None:
        self._handler = _LogFile(folder / "console.log")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger = logging.getLogger("querist")
        self._logger.addHandler(self._handler)
        if self._logger.getEffectiveLevel() > logging.INFO:
            self._logger.setLevel(logging.INFO)

    def close(self) -> None:
        """Stop listening."""
        self._logger.removeHandler(self._handler)
        self._handler.close()
