"""The fifth step: champion and challenger are measured on the same items."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from querist.config.compare import CompareConfig
from querist.config.retraining import Retraining
from querist.context import MetrologyContext
from querist.items.filters import is_there, value_at
from querist.lineage import Lineage
from querist.phases.metrology import values_of
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner
from querist.registry import build
from querist.retraining.chosen import Answers, data_digest, test_items
from querist.retraining.detection import detections_of, true_boxes
from querist.retraining.model import learner_of
from querist.retraining.source import open_source
from querist.retraining.track import track_evaluation
from querist.runs.evaluations import predictions_of
from querist.values import Evaluation, Outcomes, Task

REPEATS = 5
_log = logging.getLogger(__name__)


def evaluate(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Measure the new version, and the champion; returns both ones' metrics.

    The champion is measured anew each time, so that both are measured on the same items.
    """
    done = lineage.ledger.step(retraining, "evaluate")
    if done is not None:
        track_evaluation(lineage, retraining, done)
        return done
    started = time.time()
    settings = lineage.settings(retraining)
    challenger = evaluation_of(lineage, retraining, settings, settings.compare, by=retraining)
    champion = lineage.ledger.champion()
    old = None
    if champion is not None:
        old = evaluation_of(lineage, champion, settings, settings.compare, by=retraining)
    outcome = {
        "metrics": dict(challenger.metrics),
        "champion": champion,
        "champion_metrics": None if old is None else dict(old.metrics),
        "test_digest": challenger.test_digest,
    }
    lineage.ledger.record_step(retraining, "evaluate", outcome, started)
    track_evaluation(lineage, retraining, outcome)
    words = ", ".join(f"{k} {v:.4g}" for k, v in challenger.metrics.items())
    _log.info("version %d: %s", retraining, words or "no metric is measured")
    return outcome


def evaluation_of(
    lineage: Lineage, version: int, settings: Retraining, compare: CompareConfig, *, by: int
) -> Evaluation:
    """A version's numbers on the test items of another one; kept for the step that compares.

    Args:
        lineage: the registered model.
        version: whose numbers.
        settings: the source, and what is measured beside what is compared.
        compare: what is compared.
        by: the version on whose test items, as its retraining found them.
    """
    key = f"evaluation {version} by {by}"
    if key not in lineage.kept:
        lineage.kept[key] = _evaluation(lineage, version, settings, compare, by)
    found: Evaluation = lineage.kept[key]
    return found


def _evaluation(
    lineage: Lineage, version: int, settings: Retraining, compare: CompareConfig, by: int
) -> Evaluation:
    answers = lineage.ledger.answers(through=by)
    ids = test_items(lineage, lineage.version_settings(by), answers)
    source = open_source(lineage, settings)
    test = source.labeled(ids, answers)
    learner = learner_of(lineage, version)
    timed = any(check.metric == "latency" for check in compare.checks)
    outcomes = outcomes_of(learner, test, source.classes, _slices(compare, ids, answers), timed)
    if any(check.iou_threshold is not None for check in compare.checks):
        outcomes = replace(
            outcomes,
            found=detections_of(learner, test.features()),
            truth=[true_boxes(item, answers[item].metadata) for item in ids],
        )
    stored = lineage.ledger.step(version, "train") or {}
    return Evaluation(
        iteration=version,
        metrics=measured(settings, outcomes, version, int(stored.get("labels", 0))),
        test_digest=data_digest(lineage, ids, answers),
        outcomes=outcomes,
        curves=_curves(stored.get("curve") or []),
    )


def outcomes_of(
    learner: Learner,
    test: LabeledSet,
    classes: int | None,
    slices: Mapping[str, Mapping[str, torch.Tensor]],
    timed: bool,
) -> Outcomes:
    """What a learner says of each test item.

    Args:
        learner: predicts.
        test: the items with their truth.
        classes: number of classes; None for regression.
        slices: positions in `test` by value, by metadata key.
        timed: whether the seconds that a prediction takes are measured.
    """
    features = test.features()
    task = Task.REGRESSION if classes is None else Task.CLASSIFICATION
    predictions, probabilities = predictions_of(learner, task, features)
    return Outcomes(
        task=task,
        classes=classes,
        targets=test.targets,
        predictions=predictions,
        probabilities=probabilities,
        slices=slices,
        seconds=_seconds(learner, features) if timed else None,
    )


def _seconds(learner: Learner, features: torch.Tensor) -> float:
    """Seconds that a prediction takes for one of the items, the median of several."""
    predict = learner.predict
    predict(features)
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        predict(features)
        found.append((time.perf_counter() - began) / len(features))
    return median(found)


def _slices(
    compare: CompareConfig, ids: list[str], answers: Answers
) -> dict[str, dict[str, torch.Tensor]]:
    """Positions of the items by value, for each metadata key that a check slices by."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key in {check.slice_by for check in compare.checks if check.slice_by is not None}:
        positions: dict[str, list[int]] = {}
        for position, item in enumerate(ids):
            value = value_at(answers[item].metadata, key.split("."))
            if is_there(value) and value is not None:
                positions.setdefault(str(value), []).append(position)
        found[key] = {value: torch.tensor(where) for value, where in sorted(positions.items())}
    return found


def measured(
    settings: Retraining, outcomes: Outcomes, version: int, labels: int
) -> dict[str, float]:
    """What the metrology strategies of the settings say."""
    context = MetrologyContext(
        task=outcomes.task,
        classes=outcomes.classes,
        targets=outcomes.targets,
        predictions=outcomes.predictions,
        probabilities=outcomes.probabilities,
        labeled=labels,
        iteration=version,
    )
    strategies = [build("metrology", m.name, m.options) for m in settings.metrology]
    values = values_of(strategies, context)
    if outcomes.seconds is not None:
        values["latency"] = outcomes.seconds
    return values


def _curves(points: list[list[Any]]) -> dict[str, list[float]]:
    """Training curves as checks name them: `loss/train`, `loss/validation`."""
    curves: dict[str, list[float]] = {}
    for name, column in (("loss/train", 1), ("loss/validation", 2)):
        values = [point[column] for point in points]
        if values and all(value is not None for value in values):
            curves[name] = [float(value) for value in values]
    return curves
