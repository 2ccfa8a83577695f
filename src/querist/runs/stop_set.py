"""The stop set: samples on which the models of successive iterations are compared.

It is drawn once, when a run is made, and its indices are in the ledger. The predictions of an
iteration are kept as a file, `stop_set/step_0007.npy`, whose SHA-256 is in the outcome of the
metrology phase; the last two stay. Where the one of the iteration before is missing or damaged, its
model is brought back and predicts again: the same numbers, bit for bit, on the CPU.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from querist.config.experiment import Experiment
from querist.errors import ConfigurationError
from querist.protocols import MetrologyStrategy
from querist.randomness import SETUP, generator
from querist.runs.append_data import AppendData
from querist.runs.data import RunData
from querist.runs.model import bring_model_to
from querist.runs.run import Run
from querist.storage.atomic import create_folder, remove, sha256, write_file
from querist.values import Phase, Task

STOP_SET = "stop_set"
"""The name of the subset in the ledger, of the folder, and of the digest in a phase's outcome."""

_log = logging.getLogger(__name__)


def wanted_size(metrology: Sequence[MetrologyStrategy]) -> int:
    """How many samples the metrology strategies want to compare models on; 0 = nobody does."""
    return max((int(getattr(m, "stop_set_size", 0)) for m in metrology), default=0)


def draw_stop_set(experiment: Experiment, data: RunData | AppendData, size: int) -> torch.Tensor:
    """Indices of at most `size` samples that may be queried or are labeled at the start.

    Raises:
        ConfigurationError: there are no classes, or no indices, to compare models on.
    """
    if isinstance(data, AppendData):
        raise _no_stop_set("samples with an index, which a data set with `append` does not have")
    if data.task is not Task.CLASSIFICATION:
        raise _no_stop_set("samples of classes, and the targets of this pool are numbers")
    candidates = torch.cat([data.queryable, data.initial]).unique()
    source = generator(experiment.seed, SETUP, "setup", STOP_SET)
    drawn: torch.Tensor = candidates[torch.randperm(len(candidates), generator=source)[:size]]
    return drawn


def _no_stop_set(needed: str) -> ConfigurationError:
    return ConfigurationError(
        f"a stop set needs {needed}: remove the metrology strategy that asks for one (`stability`, "
        "say) and what stops by it"
    )


def predict_on_stop_set(run: Run) -> torch.Tensor:
    """Probabilities `(m, c)` by the learner as it is now."""
    indices = run.ledger.subset(STOP_SET)
    if not len(indices):
        return torch.empty(0, run.data.pool.classes or 0)
    # The base setting: a schedule must not change how the predictions of one model are computed.
    parts = indices.split(run.experiment.strategies.chunk_size)
    return torch.cat([run.learner.predict_proba(run.data.pool.features(part)) for part in parts])


def predictions_before(run: Run, iteration: int) -> torch.Tensor | None:
    """What the model of the iteration before predicts; None for the first one.

    The learner may be another iteration's model afterwards.
    """
    if iteration == 0:
        return None
    found = _load(run, iteration - 1)
    if found is None:
        bring_model_to(run, iteration - 1)
        found = predict_on_stop_set(run)
    return found


def keep_predictions(run: Run, iteration: int, probabilities: torch.Tensor) -> str:
    """Write down what the model of `iteration` predicts; returns the file's SHA-256.

    Raises:
        LeaseLostError: another process has taken the run over.
    """
    run.ledger.db.check_lease()
    content = io.BytesIO()
    np.save(content, probabilities.numpy(), allow_pickle=False)
    path = _path(run, iteration)
    create_folder(path.parent)
    write_file(path, content.getvalue())
    return sha256(content.getvalue())


def prune_predictions(run: Run, newest: int) -> None:
    """Remove all files but those of the newest iteration and the one before."""
    kept = {_path(run, newest), _path(run, newest - 1)}
    for path in _folder(run).iterdir():
        if path not in kept:
            remove(path)


def _load(run: Run, iteration: int) -> torch.Tensor | None:
    """The predictions that were kept of an iteration; None when they are missing or damaged."""
    outcome = run.ledger.phase_outcome(iteration, Phase.METROLOGY) or {}
    path = _path(run, iteration)
    try:
        content = path.read_bytes()
    except OSError as error:
        _log.warning("%s cannot be read, %s: its model predicts again", path, error.strerror)
        return None
    if sha256(content) != outcome.get(STOP_SET):
        _log.warning("%s does not have the SHA-256 of the ledger: its model predicts again", path)
        return None
    return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))


def _folder(run: Run) -> Path:
    return run.reference.folder / STOP_SET


def _path(run: Run, iteration: int) -> Path:
    return _folder(run) / f"step_{iteration:04d}.npy"
