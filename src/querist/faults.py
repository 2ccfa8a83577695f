"""Named points at which a process can be made to die, to show that nothing is lost there.

`QUERIST_CRASH_AT=POINT[:COUNT][:group][:rankN]` kills the process with SIGKILL when it passes the
point for the COUNT-th time (default: the first); with `group`, all of its process group; with
`rank1`, only process 1 of those that train together, and only before they were started again.
Unset, a point costs less than a function call that does nothing else.
"""

from __future__ import annotations

import os
import re
import signal

from querist.errors import ConfigurationError, UnknownNameError

VARIABLE = "QUERIST_CRASH_AT"
_RANK = re.compile(r"rank\d{1,4}")

POINTS = {
    "create.ledger": "a new run's ledger has its tables, and nothing in them",
    "create.recorded": "split and initial labels are recorded, experiment.yaml is not there",
    "file.beside": "a file is written beside, and not renamed",
    "folder.half": "a file of a checkpoint is written beside, others may not be",
    "folder.beside": "a checkpoint is whole beside, and not renamed",
    "folder.renamed": "a checkpoint has its name, and no row in the ledger",
    "train.step": "before an optimizer step",
    "train.epoch": "after an epoch",
    "train.fitted": "the training is over, nothing of it is on the disk",
    "train.recorded": "the training is recorded",
    "metrology.measured": "the model is measured, nothing is recorded",
    "metrology.recorded": "the measurements are recorded, their files are not written",
    "query.chosen": "samples are chosen, nothing is recorded",
    "query.transaction": "in the transaction of the selection",
    "query.recorded": "the selection is recorded, nobody was asked",
    "label.claimed": "it is recorded that a source is asked; it was not asked yet",
    "label.bought": "a label is there, and not stored",
    "label.transaction": "in the transaction of a label",
    "label.stored": "a label is stored, the next one is not asked for",
    "label.recorded": "the label phase is recorded",
    "gate.judged": "the gate has spoken, and it is not recorded",
    "gate.recorded": "the verdict is recorded, the iteration is not committed",
    "commit.transaction": "in the transaction of the commit",
    "commit.recorded": "the iteration is committed, the tracker has not heard of it",
    "conclude.tracked": "the final model is handed to the tracker, there is no summary",
    "conclude.summed": "the summary is there, the run is not marked as concluded",
    "lineage.ledger": "a new model's ledger has its tables, lineage.yaml is not there",
    "pull.recorded": "a retraining is entered with its answers, nothing is split",
    "split.transaction": "in the transaction of the split",
    "version.settings": "a new version's settings are written, it is not trained",
    "version.checkpoint": "a version's weights have their name, and no row in the ledger",
    "version.recorded": "a version is recorded, the tracker has not heard of it",
    "compare.judged": "the gate has spoken, and nothing is recorded",
    "compare.recorded": "the verdict is recorded, the step is not",
    "promote.transaction": "in the transaction of a promotion",
    "promote.recorded": "a promotion is recorded, the step is not, the tracker has not heard of it",
    "promote.told": "the tracker is told of a promotion, the step is not recorded",
}


class _Crash:
    """Where, and at which pass."""

    def __init__(self, words: str) -> None:
        self.point, *more = words.split(":")
        self.group = "group" in more
        ranks = [part for part in more if _RANK.fullmatch(part)]
        counts = [part for part in more if part != "group" and part not in ranks]
        if self.point not in POINTS:
            raise UnknownNameError("crash point", self.point, POINTS)
        if (
            len(ranks) > 1
            or len(counts) > 1
            or not all(part.isdecimal() and int(part) > 0 for part in counts)
        ):
            raise ConfigurationError(
                f"{VARIABLE} has the form POINT[:COUNT][:group][:rankN] with a COUNT from 1, not "
                f"{words!r}"
            )
        self.left = int(counts[0]) if counts else 1
        if ranks and f"rank{_own_rank()}" != ranks[0]:
            self.left = 0

    def passed(self, point: str) -> None:
        if point != self.point:
            return
        self.left -= 1
        if self.left == 0:
            if self.group:
                os.killpg(os.getpgid(0), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


def _own_rank() -> str | None:
    """Which of several training processes this is; None where they were started again."""
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    return os.environ.get("RANK") if first else None


_crash: _Crash | None = _Crash(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_point(name: str) -> None:
    """Die here if `QUERIST_CRASH_AT` says so."""
    if _crash is not None:
        _crash.passed(name)


def crash_at(words: str | None) -> None:
    """Choose the crash point of this process anew; None = no one.

    Raises:
        UnknownNameError: there is no such point.
        ConfigurationError: the words have another form.
    """
    global _crash
    _crash = _Crash(words) if words else None
