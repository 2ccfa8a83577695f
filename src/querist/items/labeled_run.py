"""What an active-learning run has labeled so far, and what it holds back, as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from querist.config.load import load_experiment
from querist.errors import DataError, RunError
from querist.items.digests import digests_of
from querist.items.split import tagged
from querist.ledger.leased import MADE
from querist.pools.labeled import LabeledSet
from querist.pools.split import TEST, VALIDATION
from querist.registry import register
from querist.runs.data import RunData, reopen_data
from querist.runs.open import EXPERIMENT_FILE, ledger_of, run_folder
from querist.values import Item


@register("items", "labeled_run")
class LabeledRun:
    """The labels of an active-learning run, which may go on meanwhile.

    Samples that the run holds back come along with their truth, tagged `test` and `validation`:
    no retraining learns from them. Items are named by the sample's index in the run's pool; those
    of test and validation sets that the pool brings itself as `test:0`, `test:1`, ...

    Args:
        run_id: the run.
        root: the folder that holds its folder. Default: that of the registered model.
    """

    def __init__(self, run_id: str, root: str | None = None) -> None:
        self._run_id = run_id
        self._root = None if root is None else Path(root)
        self._data: RunData | None = None

    def bind(self, root: Path) -> None:
        """The folder that holds the folders of models and runs, unless another one was named."""
        self._root = self._root or root

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self._open().pool.classes

    def items(self) -> Iterator[Item]:
        """What is labeled now, in the order in which it was learned from; then what is held back.

        A label that was corrected comes as it is now.
        """
        ledger = ledger_of(self._folder())
        try:
            data = self._read(ledger)
            labeled = data.labeled(ledger)
        finally:
            ledger.close()
        yield from _items(labeled, [str(index) for index in labeled.indices.tolist()], None)
        for subset, held in ((TEST, data.test), (VALIDATION, data.validation)):
            if held is not None:
                yield from _items(held, _names(held, data, subset), subset)

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """The features of items `(k, ...)`, in that order."""
        data = self._open()
        rows: list[torch.Tensor | None] = [None] * len(ids)
        places: dict[str, list[int]] = {}
        for position, name in enumerate(ids):
            places.setdefault(name.partition(":")[0] if ":" in name else "", []).append(position)
        for subset, positions in places.items():
            held = {"": None, TEST: data.test, VALIDATION: data.validation}[subset]
            pool = data.pool if held is None else held.pool
            indices = torch.tensor([int(ids[p].rpartition(":")[2]) for p in positions])
            for position, row in zip(positions, pool.features(indices), strict=True):
                rows[position] = row
        return torch.stack([row for row in rows if row is not None]) if ids else data.sample[:0]

    def _folder(self) -> Path:
        return run_folder(self._run_id, self._root or Path("active_learning_logs"))

    def _open(self) -> RunData:
        if self._data is None:
            ledger = ledger_of(self._folder())
            try:
                return self._read(ledger)
            finally:
                ledger.close()
        return self._data

    def _read(self, ledger: object) -> RunData:
        """The run's data as its ledger says they were split. Takes neither lock nor lease."""
        from querist.ledger import Ledger

        assert isinstance(ledger, Ledger)
        ledger.check_schema()
        if ledger.fact(MADE) is None:
            raise RunError(f"run {self._run_id} is just being made: wait a moment")
        data = reopen_data(load_experiment(self._folder() / EXPERIMENT_FILE), ledger)
        if not isinstance(data, RunData):
            raise DataError(
                f"run {self._run_id} learns from a data set with `append`, whose items have no "
                "features of their own: use the source `files`, or a source of your own"
            )
        self._data = data
        return data


def _names(held: LabeledSet, data: RunData, subset: str) -> list[str]:
    """Names of samples that are held back: the pool's indices, or those of a set of its own."""
    prefix = "" if held.pool is data.pool else f"{subset}:"
    return [f"{prefix}{index}" for index in held.indices.tolist()]


def _items(labeled: LabeledSet, names: list[str], subset: str | None) -> Iterator[Item]:
    metadata = {} if subset is None else tagged({}, subset)
    if not names:
        return
    digests = digests_of(labeled.features())
    for name, digest, label in zip(names, digests, labeled.targets.tolist(), strict=True):
        yield Item(name, digest, label, metadata)
