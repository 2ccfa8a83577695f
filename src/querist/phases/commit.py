"""The end of an iteration: the gate speaks, and the iteration is committed whole."""

from __future__ import annotations

import logging

from querist.errors import CheckpointError
from querist.faults import crash_point
from querist.phases.train import prune_checkpoints
from querist.runs.evaluations import evaluations
from querist.runs.run import Run
from querist.runs.tracking import track_iteration
from querist.values import Phase, Verdict

_log = logging.getLogger(__name__)


def commit_iteration(run: Run, iteration: int) -> Verdict | None:
    """Put the model to the gate, commit the iteration, and tell the tracker.

    Returns the gate's verdict; None without a gate.
    """
    if run.ledger.next_iteration() > iteration:
        track_iteration(run, iteration)  # a retry: the spool may have refused it the first time
        return None
    verdict = _judge(run, iteration)
    settings = run.settings(iteration)
    labels = len(run.labeled(iteration))
    trained = run.ledger.phase_outcome(iteration, Phase.TRAIN) or {}
    checkpoint = trained.get("checkpoint")
    run.ledger.commit_iteration(
        iteration,
        labels,
        settings.model_dump(mode="json"),
        checkpoint,
        _files(run, iteration, checkpoint),
    )
    crash_point("commit.recorded")
    prune_checkpoints(run, iteration)
    track_iteration(run, iteration)
    run.log.write(iteration, "iteration", "commit", labels=labels)
    metrics = run.ledger.metrology().get(iteration, {})
    run.tell(iteration, None, labels=labels, metrics=metrics)
    return verdict


def _files(run: Run, iteration: int, checkpoint: str | None) -> dict[str, str]:
    """SHA-256 of the checkpoint's files, from its manifest; none where it is damaged."""
    if checkpoint is None:
        return {}
    try:
        return run.checkpoints.digests(iteration, checkpoint)
    except CheckpointError as error:
        _log.warning("%s; resume trains the iteration again", error)
        return {}


def _judge(run: Run, iteration: int) -> Verdict | None:
    gate = run.strategies.gate
    if gate is None:
        return None
    champion = run.ledger.champion()
    if champion == iteration:
        return None
    verdict = gate.compare(*evaluations(run, iteration, champion))
    crash_point("gate.judged")
    run.ledger.record_verdict(iteration, verdict)
    crash_point("gate.recorded")
    run.log.write(iteration, "gate", "promote" if verdict.promote else "discard")
    _log.info(
        "iteration %d: %s (%s)",
        iteration, "promoted" if verdict.promote else "discarded", verdict.reason,
    )  # fmt: skip
    return verdict
