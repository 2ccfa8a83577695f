"""What a run tells whoever watches: a terminal, a test, a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from querist.values import Phase


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        run_id: the run.
        name: the experiment's name.
        iteration: the present iteration, from 0.
        iterations: at most so many.
        phase: what is going on; None when an iteration has just been committed.
        labels: labeled samples.
        epoch, epochs: of the present training.
        loss: the last epoch's mean training loss.
        validation_loss: after the last epoch; None without validation.
        samples_per_second: of the last epoch; None where nobody measured.
        metrics: the latest metrology.
        outlook: what the stop criteria said after the iteration that has just been committed.
    """

    run_id: str
    name: str
    iteration: int
    iterations: int
    phase: Phase | None
    labels: int
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    samples_per_second: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    outlook: str = ""


LONG_SECONDS = 2.0
"""From then on a training is watched epoch by epoch."""
Listener = Callable[[Progress], None]
_listeners: list[Listener] = []


@contextmanager
def watched_by(listener: Listener) -> Iterator[None]:
    """Every progress of every run in this process goes to `listener` inside."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(progress: Progress) -> None:
    """Pass a progress on."""
    for listener in tuple(_listeners):  # runs in other threads may begin or end
        listener(progress)


def training_words(progress: Progress) -> str:
    """How a training goes on, in words; empty where nothing was measured yet."""
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3g}")
    if progress.validation_loss is not None:
        parts.append(f"validation loss {progress.validation_loss:.3g}")
    if progress.samples_per_second is not None:
        parts.append(f"{rate_in_words(progress.samples_per_second)} samples/s")
    return ", ".join(parts)


def rate_in_words(rate: float) -> str:
    """A number that changes all the time, with no more digits than people read."""
    return f"{rate:.3g}" if rate < 1000 else f"{float(f'{rate:.3g}'):,.0f}"


class LongTraining:
    """Tells trainings that are worth watching from those that are over at once.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._iteration: int | None = None
        self._began = 0.0

    def hears(self, progress: Progress) -> bool:
        """Whether this is of a training that has lasted for two seconds."""
        if progress.phase is not Phase.TRAIN:
            self._iteration = None
            return False
        now = self._clock()
        if progress.iteration != self._iteration:
            self._iteration, self._began = progress.iteration, now
        return progress.epochs > 1 and now - self._began >= LONG_SECONDS
