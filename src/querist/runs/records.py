"""The files in a run's folder that people and scripts read."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from querist.storage.atomic import storage_errors, write_file
from querist.storage.store import store

F1_KEYS = ("precision", "recall", "f1")


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
            **more,
        }
        disk = store()
        with storage_errors(self._path), disk.open(self._path, "ab") as file:
            disk.write(file, json.dumps(line).encode() + b"\n")


def write_metrology(folder: Path, records: Mapping[int, tuple[int, Mapping[str, float]]]) -> None:
    """`metrology.json`, and `f1_metrology.json` where F1 was measured.

    Args:
        folder: the run's folder.
        records: labels and metric values by iteration.
    """
    everything = [
        {"step": step, "num_train_samples": labels, **_finite(values)}
        for step, (labels, values) in sorted(records.items())
    ]
    write_file(folder / "metrology.json", json.dumps(everything, indent=1).encode())
    of_f1 = [
        {key: record[key] for key in ("step", "num_train_samples", *F1_KEYS)}
        for record in everything
        if all(key in record for key in F1_KEYS)
    ]
    if of_f1:
        write_file(folder / "f1_metrology.json", json.dumps(of_f1, indent=1).encode())


def read_metrology(folder: Path) -> list[dict[str, Any]]:
    """The records of `metrology.json`; none where nothing was measured."""
    path = folder / "metrology.json"
    if not path.exists():
        return []
    records: list[dict[str, Any]] = json.loads(path.read_bytes())
    return records


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a value that is not finite is null."""
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


class ConsoleLog:
    """`console.log`: what Querist's loggers say while the run is open."""

    def __init__(self, folder: Path) -> None:
        self._handler = logging.FileHandler(folder / "console.log", delay=True)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger = logging.getLogger("querist")
        self._logger.addHandler(self._handler)
        if self._logger.getEffectiveLevel() > logging.INFO:
            self._logger.setLevel(logging.INFO)

    def close(self) -> None:
        """Stop listening."""
        self._logger.removeHandler(self._handler)
        self._handler.close()
