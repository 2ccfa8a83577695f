"""A run's model is no base where it would be compared on what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from querist.config.load import load_experiment
from querist.errors import DataError
from querist.items.digests import digests_of
from querist.runs.data import RunData, reopen_data
from querist.runs.open import EXPERIMENT_FILE, ledger_of, run_folder


def refuse_leaks(root: Path, run_id: str, test: torch.Tensor) -> None:
    """Refuse the model of a run that has labeled what it would be tested on.

    Args:
        root: the folder that holds the run's folder.
        run_id: the run.
        test: the features of the test items `(n, ...)`.

    Raises:
        DataError: samples of the run are among the test items, or it cannot be told.
    """
    learned = _labeled(run_folder(run_id, root))
    tested = test
    # The same numbers may be stored in other types: they are compared in the coarser one.
    if learned.is_floating_point() and tested.is_floating_point():
        kind = min(learned.dtype, tested.dtype, key=lambda dtype: torch.finfo(dtype).bits)
        learned, tested = learned.to(kind), tested.to(kind)
    known = set(digests_of(learned))
    both = sum(digest in known for digest in digests_of(tested))
    if both:
        raise DataError(
            f"run {run_id} has labeled {both} of the {len(test)} test items, and a model is never "
            "tested on what it was trained on: set base.start to scratch, or base.run_id to a run "
            "that labeled none of them"
        )


def _labeled(folder: Path) -> torch.Tensor:
    """The features of what a run has labeled `(k, ...)`; takes neither lock nor lease."""
    ledger = ledger_of(folder)
    try:
        ledger.check_schema()
        data = reopen_data(load_experiment(folder / EXPERIMENT_FILE), ledger)
        labeled = data.labeled(ledger)
    finally:
        ledger.close()
    if isinstance(data, RunData):
        features: torch.Tensor = labeled.features()
        return features
    return _of_pairs(folder.name, [labeled[index] for index in range(len(labeled))])


def _of_pairs(run_id: str, items: list[Any]) -> torch.Tensor:
    """The features of what a data set with `append` holds."""
    try:
        return torch.stack([torch.as_tensor(features) for features, _ in items])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"it cannot be told whether run {run_id} has learned from test items, since its data "
            "set does not hold pairs of features and target: set base.start to scratch"
        ) from error
