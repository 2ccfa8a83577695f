"""Bringing the learner to where an iteration needs it.

The newest whole checkpoint is loaded, and the trainings after it are done again with the labels
that were there at the time: the same weights, bit for bit, on the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from querist.errors import CheckpointError
from querist.runs.checkpoints import PartialCheckpoint
from querist.runs.run import Run
from querist.training.curve import Row
from querist.training.job import TrainingJob
from querist.training.watched import EpochsTold, Fitted, fit_watched
from querist.values import Phase

_log = logging.getLogger(__name__)


def bring_model_to(run: Run, iteration: int) -> None:
    """Make `run.learner` the model after `iteration`'s training (-1 = first weights).

    A run that does not train keeps its first weights.
    """
    if run.experiment.driver.skip_training:
        iteration = -1
    if run.model_iteration == iteration:
        return
    start = _load_newest(run, iteration)
    run.model_iteration = None
    for step in range(start + 1, iteration + 1):
        _log.info("training iteration %d again, its checkpoint is not there", step)
        fit(run, step)
    run.model_iteration = iteration


def _load_newest(run: Run, iteration: int) -> int:
    """Load the newest good checkpoint up to `iteration`; returns its iteration, -1 for none."""
    for candidate in reversed(run.checkpoints.iterations()):
        trained = run.ledger.phase_outcome(candidate, Phase.TRAIN)
        if candidate > iteration or trained is None:
            continue
        try:
            files, _ = run.checkpoints.load(candidate, trained.get("checkpoint"))
        except CheckpointError as error:
            _log.warning("%s; the one before is used", error)
            continue
        run.learner.load_state_files(files)
        return candidate
    run.learner.reset()
    return -1


def fit(
    run: Run,
    iteration: int,
    *,
    points: int = 0,
    on_point: Callable[[Row], None] = lambda row: None,
) -> Fitted:
    """Train the learner, which is the model of the iteration before, on its labels.

    Args:
        run: the run.
        iteration: which iteration's training.
        points: how many points its curve has at most; 0 = it has none.
        on_point: called with the points while it goes on.
    """
    experiment = run.settings(iteration)
    labeled = run.labeled(iteration)
    partial = None
    if experiment.training.checkpoint_epochs:
        partial = PartialCheckpoint(run.reference.folder / "checkpoints", iteration)
    job = TrainingJob(
        iteration=iteration,
        settings=experiment.training,
        seed=experiment.seed,
        device=run.device,
        dtype=getattr(run.learner, "dtype", torch.float32),
        validation=run.data.validation,
        partial=partial,
        on_epoch=EpochsTold(run.progress(iteration, Phase.TRAIN, labels=len(labeled))),
    )
    run.model_iteration = None
    fitted = fit_watched(run.learner, labeled, job, points=points, on_point=on_point)
    run.model_iteration = iteration
    return fitted


def mend_checkpoint(run: Run, iteration: int) -> None:
    """Write the checkpoint of the model at hand anew, if the one of `iteration` is damaged."""
    trained = run.ledger.phase_outcome(iteration, Phase.TRAIN)
    if trained is None:
        return
    try:
        run.checkpoints.load(iteration, trained.get("checkpoint"))
    except CheckpointError as error:
        _log.warning("%s; it is written anew", error)
        if save_checkpoint(run, iteration) != trained.get("checkpoint"):
            _log.warning("the model of iteration %d is not bit-identical to what it was", iteration)


def save_checkpoint(run: Run, iteration: int) -> str:
    """Write the learner's checkpoint of `iteration`; returns its manifest's SHA-256.

    Raises:
        LeaseLostError: another process has taken the run over.
    """
    run.ledger.db.check_lease()
    sample = run.data.sample
    about: dict[str, Any] = {
        "labels": len(run.labeled(iteration)),
        "classes": run.data.pool.classes,
    }
    if sample is not None:
        about["features"] = list(sample.shape[1:])
        about["features_dtype"] = str(sample.dtype).removeprefix("torch.")
    digest = run.checkpoints.save(iteration, run.learner.state_files(), about)
    PartialCheckpoint(run.reference.folder / "checkpoints", iteration).remove()
    return digest
