"""What a run tells whoever watches: a terminal, a test, a notebook."""

from __future__ import annotations

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
