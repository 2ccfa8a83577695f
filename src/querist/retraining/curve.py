"""The training curve of a version, which a kill in mid-training must not cut short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple

from querist.runs.checkpoints import PartialCheckpoint
from querist.training.job import EpochReport

CURVE = "curve.json"


class PartialWithCurve:
    """The state of a training in the middle, with the losses of the epochs that led to it.

    Implements `protocols.PartialCheckpoints`. A gate may judge the curve, so that a training which
    goes on after a kill must have all of it.

    Args:
        partial: where the state is kept.
        reports: the epochs so far; filled with those before when the training goes on.
    """

    def __init__(self, partial: PartialCheckpoint, reports: list[EpochReport]) -> None:
        self._partial = partial
        self._reports = reports

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep `files` as the state after `epoch` epochs; replaces the one before."""
        curve = json.dumps([astuple(report) for report in self._reports]).encode()
        self._partial.save(epoch, {**files, CURVE: curve})

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        """The newest state that is whole, with its epoch; None when there is none."""
        found = self._partial.latest()
        if found is not None and CURVE in found[1]:
            self._reports[:] = [EpochReport(*row) for row in json.loads(found[1][CURVE])]
        return found
