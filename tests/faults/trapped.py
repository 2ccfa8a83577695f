"""A learner that falls into a trap: its process crashes or hangs in the middle of its training.

On the tests' import path. The file $TRAP/<learner> names step and fault; it is gone before the
fault, so that a resume gets past it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.two_moons.model import MoonClassifier

_steps: Counter[str] = Counter()
"""Steps of this process."""


class Model(MoonClassifier):
    """It knows whose it is."""

    def __init__(self, learner: str) -> None:
        super().__init__()
        self._learner = learner

    def forward(self, x: Any) -> Any:
        if self.training:
            _steps[self._learner] += 1
            _fall(self._learner, _steps[self._learner])
        return super().forward(x)


def _wait(learner: str) -> None:
    """Until somebody removes the file that says so."""
    file = Path(os.environ["TRAP"]) / f"{learner}.waits"
    file.touch()
    while file.exists():
        time.sleep(0.05)


FAULTS: dict[str, Callable[[str], Any]] = {
    "SIGKILL": lambda learner: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda learner: ctypes.string_at(0),
    "SIGSTOP": lambda learner: os.kill(os.getpid(), signal.SIGSTOP),
    "wait": _wait,
}


def _fall(learner: str, step: int) -> None:
    file = Path(os.environ["TRAP"]) / learner
    if not file.exists():
        return
    at, fault = json.loads(file.read_text())
    if at == step:
        file.unlink()
        FAULTS[fault](learner)


def label(point: Any) -> int:
    """Ask somebody who bills every question."""
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{point.tolist()}\n")
    return int(point[1] < 0.25)
