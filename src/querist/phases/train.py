"""The training phase: the learner is fitted, and its checkpoint appears whole or not at all."""

from __future__ import annotations

import logging
import time
from typing import Any

from querist.faults import crash_point
from querist.phases.plan import pending_phases
from querist.runs.curves import EPOCHS_THROUGH, LiveCurve, curve_facts
from querist.runs.model import bring_model_to, fit, save_checkpoint
from querist.runs.run import Run
from querist.values import Phase

_log = logging.getLogger(__name__)


def train(run: Run, iteration: int) -> dict[str, Any]:
    """Fit the learner on all labels so far and write its checkpoint.

    Returns labels, epochs, steps, losses, and where the time went; nothing when the phase was done
    before, or when the run does not train.
    """
    if Phase.TRAIN not in pending_phases(run, iteration):
        return {}
    started = time.time()
    labels = len(run.labeled(iteration))
    run.log.write(iteration, Phase.TRAIN, "start")
    run.tell(iteration, Phase.TRAIN, labels=labels)
    bring_model_to(run, iteration - 1)
    curve = LiveCurve(run, iteration)
    fitted = fit(run, iteration, points=curve.points, on_point=curve.add)
    crash_point("train.fitted")
    saving = time.monotonic()
    checkpoint = save_checkpoint(run, iteration)
    saving = time.monotonic() - saving
    outcome = {
        **fitted.outcome(labels=labels, saving=saving),
        EPOCHS_THROUGH: curve.through(fitted),
        "checkpoint": checkpoint,
    }
    ended = run.ledger.record_phase(
        iteration, Phase.TRAIN, started, outcome, curve_facts(iteration, fitted.curve)
    )
    crash_point("train.recorded")
    curve.end(fitted.curve, ended)
    prune_checkpoints(run, iteration)
    report = fitted.report
    seconds = time.time() - started
    run.log.write(iteration, Phase.TRAIN, "end", seconds, loss=report.train_loss)
    _log.info(
        "iteration %d: trained on %d labels, %d steps, loss %s, %.2f s",
        iteration, labels, report.steps, report.train_loss, seconds,
    )  # fmt: skip
    return outcome


def prune_checkpoints(run: Run, newest: int) -> None:
    """Remove the checkpoints that neither the interval, nor resume, nor the gate needs."""
    champion = run.ledger.champion()
    every = run.experiment.tracking.log_models_every
    # The tracker takes logged models from their checkpoints, whenever it comes to it.
    logged = {i for i in range(newest + 1) if every and (i + 1) % every == 0}
    run.checkpoints.prune(
        newest=newest,
        interval=run.experiment.driver.checkpoint_interval,
        keep=frozenset(logged if champion is None else {*logged, champion}),
    )
