"""When the validation loss has stopped falling."""

from __future__ import annotations

from typing import Protocol

from querist.config.training import EarlyStopping


class Watched(Protocol):
    """Where a training is, as early stopping sees it."""

    epoch: int
    best_loss: float
    best_epoch: int
    stopped: bool


def is_best(training: Watched, loss: float, early: EarlyStopping) -> bool:
    """Whether the validation loss of the epoch that has just ended is the best so far.

    The training is told so, and stopped where it has been patient for long enough.
    """
    best = loss < training.best_loss - early.min_delta
    if best:
        training.best_loss, training.best_epoch = loss, training.epoch
    training.stopped = training.epoch - training.best_epoch >= early.patience
    return best
