"""The metrology phase: the learner is measured on the held-out test set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

import torch

from querist.context import MetrologyContext, StopSet
from querist.errors import StrategyError
from querist.faults import crash_point
from querist.protocols import MetrologyStrategy
from querist.runs.evaluations import predictions_of
from querist.runs.model import bring_model_to
from querist.runs.records import write_metrology
from querist.runs.run import Run
from querist.runs.stop_set import (
    keep_predictions,
    predict_on_stop_set,
    predictions_before,
    prune_predictions,
    wanted_size,
)
from querist.runs.strategies import uses_test_set
from querist.values import Phase

MAX_NAME = 200
_log = logging.getLogger(__name__)


def metrology(run: Run, iteration: int) -> Mapping[str, float]:
    """Measure the model of `iteration` and write the records; returns the values by metric."""
    if Phase.METROLOGY in run.ledger.done_phases(iteration):
        return run.ledger.metrology().get(iteration, {})
    started = time.time()
    labels = len(run.labeled(iteration))
    run.log.write(iteration, Phase.METROLOGY, "start")
    run.tell(iteration, Phase.METROLOGY, labels=labels)
    stop_set = _stop_set(run, iteration)
    bring_model_to(run, iteration)
    values = measure(run, iteration, stop_set)
    crash_point("metrology.measured")
    kept = None if stop_set is None else keep_predictions(run, iteration, stop_set.probabilities)
    run.ledger.record_metrology(iteration, values, labels, started, stop_set=kept)
    crash_point("metrology.recorded")
    if kept is not None:
        prune_predictions(run, iteration)
    export_metrology(run, durable=False)
    seconds = time.time() - started
    run.log.write(iteration, Phase.METROLOGY, "end", seconds, **values)
    _log.info("iteration %d: %s", iteration, ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
    return values


def _stop_set(run: Run, iteration: int) -> StopSet | None:
    """What this model and the one before predict on the stop set, if a strategy asks for it."""
    if not wanted_size(run.strategies.metrology):
        return None
    before = predictions_before(run, iteration)
    bring_model_to(run, iteration)
    return StopSet(predict_on_stop_set(run), before)


def measure(run: Run, iteration: int, stop_set: StopSet | None = None) -> dict[str, float]:
    """What the metrology strategies say of the learner as it is now."""
    context = metrology_context(run, iteration, stop_set)
    return values_of(run.in_force(iteration).metrology, context)


def values_of(
    strategies: Iterable[MetrologyStrategy], context: MetrologyContext
) -> dict[str, float]:
    """What metrology strategies say, by metric.

    Raises:
        StrategyError: two of them measure the same, or a metric's name is no name.
    """
    values: dict[str, float] = {}
    for strategy in strategies:
        record = strategy.compute(context)
        for metric, value in record.values.items():
            if len(metric) > MAX_NAME or "\0" in metric:
                raise StrategyError(
                    f"a metric's name has at most {MAX_NAME} characters: {metric!r:.80}"
                )
            if metric in values:
                raise StrategyError(
                    f"two metrology strategies measure {metric!r}: remove one of them"
                )
            values[metric] = float(value)
    return values


def metrology_context(
    run: Run, iteration: int, stop_set: StopSet | None = None
) -> MetrologyContext:
    """The learner's predictions on the test set beside the truth.

    Both are empty where there is no test set, or nobody who needs one: queue-style strategies and
    programs find for themselves what they measure.
    """
    test = run.data.test
    nothing = torch.empty(0)
    targets, predictions = nothing, nothing
    probabilities: torch.Tensor | None = None
    if test is not None and any(map(uses_test_set, run.strategies.metrology)):
        targets = test.targets
        predictions, probabilities = predictions_of(run.learner, run.data.task, test.features())
    return MetrologyContext(
        task=run.data.task,
        classes=run.data.pool.classes,
        targets=targets,
        predictions=predictions,
        probabilities=probabilities,
        labeled=len(run.labeled(iteration)),
        iteration=iteration,
        stop_set=stop_set,
    )


def export_metrology(run: Run, *, durable: bool = True) -> None:
    """Write the record files anew from the ledger; a resume does so too."""
    labels = run.ledger.metrology_labels()
    records = {i: (labels[i], values) for i, values in run.ledger.metrology().items()}
    write_metrology(run.reference.folder, records, durable=durable)
