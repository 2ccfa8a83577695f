"""The end of a run: the model that it yields, its figures, and a summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from querist.faults import crash_point
from querist.figures import decision_boundary, learning_curve
from querist.phases.metrology import export_metrology
from querist.runs.data import RunData
from querist.runs.model import bring_model_to, mend_checkpoint
from querist.runs.run import Run
from querist.runs.tracking import FINAL_MODEL, track_end, track_file, track_missing, track_model
from querist.storage.atomic import write_file
from querist.training.watched import Spent, spent_on
from querist.values import Phase

_log = logging.getLogger(__name__)
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        run_id: the run.
        folder: where everything is.
        stop_reason: why it stopped.
        iterations: committed iterations.
        labels: labeled samples at the end, the initial ones included.
        labels_bought: without the initial ones.
        metric: the metric that the learning curve shows; None when nothing was measured.
        first, last: its value in the first and in the last iteration.
        model_iteration: the iteration whose model the run yields.
        seconds: time per phase, over all iterations.
        training: where that of training went.
    """

    run_id: str
    folder: str
    stop_reason: str
    iterations: int
    labels: int
    labels_bought: int
    metric: str | None
    first: float | None
    last: float | None
    model_iteration: int
    seconds: Mapping[str, float]
    training: Spent = field(default_factory=Spent)


def conclude(run: Run) -> Summary:
    """Draw the figures, hand the final model to the tracker, and sum the run up.

    A run that was concluded before stays as it is.
    """
    if run.ledger.fact("concluded") is not None:
        return read_summary(run.reference.folder)
    run.ledger.db.check_lease()
    last = run.ledger.next_iteration() - 1
    champion = run.ledger.champion()
    yields = last if champion is None else champion
    track_missing(run)
    bring_model_to(run, yields)
    mend_checkpoint(run, yields)
    export_metrology(run)  # the last iteration may have been killed before it did so itself
    for path in draw(run):
        track_file(run, path, "figures")
    if not run.experiment.driver.skip_training:
        track_model(run, yields, FINAL_MODEL)
    crash_point("conclude.tracked")
    summary = summarize(run, last, yields)
    write_file(run.reference.folder / SUMMARY_FILE, json.dumps(asdict(summary), indent=1).encode())
    for name in (SUMMARY_FILE, "metrology.json", "f1_metrology.json"):
        if (run.reference.folder / name).exists():
            track_file(run, run.reference.folder / name)
    if run.experiment.tracking.enabled:
        reason = {"querist.stop_reason": summary.stop_reason}
        track_end(run.reference.folder, "FINISHED", **reason)
    crash_point("conclude.summed")
    run.ledger.set_fact("concluded", "1")
    _log.info("the run ended: %s", summary.stop_reason)
    return summary


def read_summary(folder: Path) -> Summary:
    """The summary of a run that was concluded."""
    content = json.loads((folder / SUMMARY_FILE).read_bytes())
    return Summary(**{**content, "training": Spent(**content.get("training", {}))})


def main_metric(run: Run) -> str | None:
    """The metric that people look at first: F1 if there is one, else the first one measured."""
    measured = run.ledger.metrology()
    names = list(next(iter(measured.values()), {}))
    if "f1" in names:
        return "f1"
    return names[0] if names else None


def summarize(run: Run, last: int, yields: int) -> Summary:
    """The run in numbers."""
    metric = main_metric(run)
    values = [v[metric] for v in run.ledger.metrology().values()] if metric is not None else []
    seconds: dict[str, float] = {}
    rows = run.ledger.phase_rows()
    for _, phase, duration, _ in rows:
        seconds[phase.value] = seconds.get(phase.value, 0.0) + duration
    return Summary(
        run_id=run.reference.run_id,
        folder=str(run.reference.folder),
        stop_reason=run.ledger.fact("stop_reason") or "stopped",
        iterations=last + 1,
        labels=len(run.data.labeled(run.ledger)),
        labels_bought=run.ledger.labels_spent()[0],
        metric=metric,
        first=values[0] if values else None,
        last=values[-1] if values else None,
        model_iteration=yields,
        seconds=seconds,
        training=spent_on((took, did) for _, phase, took, did in rows if phase is Phase.TRAIN),
    )


def draw(run: Run) -> list[Path]:
    """The figures that this run's data allow."""
    folder = run.reference.folder / "figures"
    drawn = []
    metric = main_metric(run)
    if metric is not None:
        path = folder / "learning_curve.png"
        learning_curve(run.history(), metric, path, run.experiment.name)
        drawn.append(path)
    data = run.data
    if isinstance(data, RunData) and data.in_plane and not run.experiment.driver.skip_training:
        labeled = data.labeled(run.ledger)
        path = folder / "decision_boundary.png"
        decision_boundary(
            run.learner.predict_proba,
            data.pool.features(torch.arange(len(data.pool))),
            labeled.indices,
            labeled.targets,
            path,
            title=run.experiment.name,
        )
        drawn.append(path)
    return drawn
