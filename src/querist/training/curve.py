"""The curve of a training: at most so many of its epochs, whatever their number.

Which epochs are points depends on their numbers alone, so that a training which is done again after
a kill has the same ones, and each can be told before the training is over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from querist.protocols import PartialCheckpoints
from querist.training.job import EpochReport

CURVE = "curve.json"

Row = tuple[int, float, float | None, float | None]
"""Epoch, training loss, validation loss, learning rate."""


def is_point(epoch: int, epochs: int, points: int) -> bool:
    """Whether an epoch is a point of a curve that has at most `points`.

    Half of them are as far apart as each other, and half grow apart by a factor: the loss falls
    fastest at the beginning, and early stopping may end a training long before its last epoch.

    Args:
        epoch: from 1.
        epochs: how many there are at most.
        points: at least 4.
    """
    if epochs <= points or epoch in (1, epochs):
        return True
    half = (points - 2) // 2
    if epoch % -(-epochs // half) == 0:
        return True
    share = half / math.log(epochs)
    return int(share * math.log(epoch)) > int(share * math.log(epoch - 1))


def thinned(rows: Sequence[Row], points: int) -> list[Row]:
    """At most `points` of the rows of a curve, the first and the last among them."""
    return [row for i, row in enumerate(rows, 1) if is_point(i, len(rows), points)]


def rows_of(content: Sequence[Sequence[Any]]) -> list[Row]:
    """The rows of a curve that was stored as JSON; older ones have no learning rate."""
    whole = ([*row, None][:4] for row in content)
    return [(epoch, train, validation, lr) for epoch, train, validation, lr in whole]


class TrainingCurve:
    """Collects the points of a training; the epoch that it ends with is always one.

    Args:
        points: how many at most; 0 = none.
    """

    def __init__(self, points: int) -> None:
        self._points = points
        self._kept: list[Row] = []
        self._newest: Row | None = None

    def add(self, report: EpochReport) -> Row | None:
        """Take an epoch in; returns its row if it is a point whatever comes next.

        An epoch that comes again, since a process of the training was lost, replaces what was.
        """
        if not self._points:
            return None
        while self._kept and self._kept[-1][0] >= report.epoch:
            self._kept.pop()
        self._newest = (report.epoch, report.train_loss, report.validation_loss, report.lr)
        if not is_point(report.epoch, report.epochs, self._points):
            return None
        self._kept.append(self._newest)
        return self._newest

    @property
    def rows(self) -> list[Row]:
        """The points so far."""
        if self._newest is None or self._newest in self._kept[-1:]:
            return list(self._kept)
        return [*self._kept, self._newest]

    def to_bytes(self) -> bytes:
        """The points so far as JSON."""
        return json.dumps([self._kept, self._newest]).encode()

    def restore(self, content: bytes) -> None:
        """The inverse of `to_bytes`."""
        kept, newest = json.loads(content)
        self._kept[:] = rows_of(kept)
        self._newest = next(iter(rows_of([newest] if newest else [])), None)


class PartialWithCurve:
    """The state of a training in the middle, with the curve that led to it.

    Implements `protocols.PartialCheckpoints`. A gate may judge the curve, so that a training which
    goes on after a kill must have all of it.

    Args:
        partial: where the state is kept.
        curve: the epochs so far; filled with those before when the training goes on.
    """

    def __init__(self, partial: PartialCheckpoints, curve: TrainingCurve) -> None:
        self._partial = partial
        self._curve = curve

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep `files` as the state after `epoch` epochs; replaces the one before."""
        self._partial.save(epoch, {**files, CURVE: self._curve.to_bytes()})

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        """The newest state that is whole, with its epoch; None when there is none."""
        found = self._partial.latest()
        if found is None:
            return None
        epoch, files = found[0], dict(found[1])
        curve = files.pop(CURVE, None)
        if curve is not None:
            self._curve.restore(curve)
        return epoch, files
