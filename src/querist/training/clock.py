"""Where the time of a training goes.

Data, validation and checkpoints are timed as they come. A step is one piece where it is replayed
from a capture, and on a GPU its parts end long after Python has asked for them. So only some steps
are timed in parts (on a GPU by events), and the time of all steps is divided in their proportion.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

STEP_PARTS = ("forward", "backward", "optimizer")
EVERY = 512
"""One step of so many is timed in parts, beside the first one."""


class Clock:
    """Adds up the seconds of a training by part."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._steps = 0.0
        self._shares = dict.fromkeys(STEP_PARTS, 0.0)
        self._last: Any = None
        self._events: list[tuple[str, Any, Any]] = []

    def add(self, part: str, seconds: float) -> None:
        """So much time went into a part that is no part of a step."""
        self._seconds[part] = self._seconds.get(part, 0.0) + seconds

    def add_steps(self, seconds: float) -> None:
        """So much time went into steps, and into the captures that were made among them."""
        self._steps += seconds

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done inside belongs to a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def start(self) -> None:
        """A step begins that is timed in parts."""
        self._last = self._now()

    def lap(self, part: str) -> None:
        """A part of the step that was started has ended."""
        now = self._now()
        if self._on_gpu:
            self._events.append((part, self._last, now))
        else:
            self._shares[part] += now - self._last
        self._last = now

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> dict[str, float]:
        """Seconds by part; those that took none are left out."""
        for part, begin, end in self._events:
            end.synchronize()
            self._shares[part] += begin.elapsed_time(end)
        self._events.clear()
        found = dict(self._seconds)
        timed = sum(self._shares.values())
        steps = self._steps - found.get("capture", 0.0)
        shares = {part: share / timed for part, share in self._shares.items() if share}
        return found | {part: steps * share for part, share in shares.items()}
