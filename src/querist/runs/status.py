"""Where a run is, read from its folder without opening it: it may be going on elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from querist.config.load import load_experiment
from querist.ledger import INITIAL_LABELS, OPEN, OUTLOOK, OpenRequest, RequestState
from querist.runs.lock import lock_holder
from querist.runs.open import EXPERIMENT_FILE, ledger_of
from querist.runs.reference import RunReference
from querist.tracking.progress import read_progress
from querist.tracking.spool import SPOOL_FILE, TrackingSpool
from querist.training.watched import Spent, spent_on
from querist.values import Phase


@dataclass(frozen=True)
class RunStatus:
    """Where a run is.

    Attributes:
        run_id: the run.
        name: the experiment's name.
        state: `running (process ... on host ...)`, `finished`, or `stopped`.
        stop_reason: why it finished; None before.
        outlook: what the stop criteria said after the newest iteration; None without any.
        iterations: committed iterations.
        max_iterations: at most so many.
        phases_done: phases of the iteration that is not committed yet.
        labels: labels that are durable, the initial ones included.
        labels_bought: without the initial ones.
        label_cost: what they cost.
        pending_requests: labels that will be asked for, or that a source will give later.
        in_doubt: samples that may have been paid for and have no label, with the reason; no machine
            asks for them again, `querist labels settle` says what became of them.
        refused: samples whose answer cannot be a label, with the reason; to be settled as well.
        for_review: samples with labels that contradict each other.
        metrics: the newest metrology.
        training: where the time of training went.
        tracking_pending: events that MLflow has not got yet.
        tracking_error: why not; None while delivery works.
        mlflow_run_id: the run in MLflow.
        folder: where everything is.
    """

    run_id: str
    name: str
    state: str
    stop_reason: str | None
    outlook: str | None
    iterations: int
    max_iterations: int
    phases_done: str
    labels: int
    labels_bought: int
    label_cost: float
    pending_requests: int
    in_doubt: Mapping[int, str]
    refused: Mapping[int, str]
    for_review: tuple[int, ...]
    metrics: Mapping[str, float]
    training: Spent
    tracking_pending: int
    tracking_error: str | None
    mlflow_run_id: str | None
    folder: str


def _doubtful(*, running: bool) -> frozenset[RequestState]:
    """While somebody waits for a source, what it was asked for is not in doubt yet."""
    asked = () if running else (RequestState.ASKED,)
    return frozenset({RequestState.IN_DOUBT, *asked})


def _reasons(requests: Sequence[OpenRequest], states: frozenset[RequestState]) -> dict[int, str]:
    return {
        request.sample: request.reason or "the process that asked ended before it was answered"
        for request in requests
        if request.state in states
    }


def read_status(reference: RunReference) -> RunStatus:
    """Where the run behind `reference` is."""
    folder = reference.folder.absolute()
    experiment = load_experiment(folder / EXPERIMENT_FILE)
    ledger = ledger_of(folder)
    try:
        ledger.check_schema()
        requests = ledger.requests()
        done = ledger.next_iteration()
        metrics = ledger.metrology()
        bought, cost = ledger.labels_spent()
        holder = lock_holder(folder) or ledger.held_by()
        concluded = ledger.fact("concluded") is not None
        tracking = read_progress(folder)
        spooled = (folder / SPOOL_FILE).exists()
        return RunStatus(
            run_id=reference.run_id,
            name=experiment.name,
            state=f"running ({holder})" if holder else "finished" if concluded else "stopped",
            stop_reason=ledger.fact("stop_reason"),
            outlook=ledger.fact(OUTLOOK) or None,
            iterations=done,
            max_iterations=experiment.driver.max_active_learning_steps,
            phases_done=", ".join(sorted(ledger.done_phases(done))),
            labels=int(ledger.fact(INITIAL_LABELS) or 0) + bought,
            labels_bought=bought,
            label_cost=cost,
            pending_requests=sum(r.state in OPEN for r in requests),
            in_doubt=_reasons(requests, _doubtful(running=holder is not None)),
            refused=_reasons(requests, frozenset({RequestState.QUARANTINED})),
            for_review=tuple(sorted({r.sample for r in ledger.revisions_for_review()})),
            metrics=metrics[max(metrics)] if metrics else {},
            training=spent_on(
                (took, did) for _, phase, took, did in ledger.phase_rows() if phase is Phase.TRAIN
            ),
            tracking_pending=len(TrackingSpool(folder).events(tracking.seq)) if spooled else 0,
            tracking_error=tracking.error,
            mlflow_run_id=tracking.mlflow_run_id,
            folder=str(folder),
        )
    finally:
        ledger.close()
