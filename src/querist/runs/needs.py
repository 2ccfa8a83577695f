"""Whether the metrics that stop criteria wait for are measured at all."""

from __future__ import annotations

from typing import Any

from querist.config.experiment import Experiment
from querist.errors import ConfigurationError, UnknownNameError
from querist.registry import components
from querist.runs.strategies import Strategies

TRAIN_LOSS = "train_loss"


def check_needs(experiment: Experiment, strategies: Strategies) -> None:
    """Refuse a stop criterion that waits for a metric that nobody measures.

    A criterion says what it cannot do without by an attribute `needs`, a metrology strategy what it
    measures by `measures`. Where one strategy does not say it, nothing can be checked.

    Raises:
        ConfigurationError: which criterion needs which metric.
    """
    said = [getattr(strategy, "measures", None) for strategy in strategies.metrology]
    if any(measures is None for measures in said):
        return
    measured = {metric for measures in said for metric in measures or ()}
    if not experiment.driver.skip_training:
        measured.add(TRAIN_LOSS)
    for component, criterion in zip(experiment.stop, strategies.stop, strict=True):
        for metric in getattr(criterion, "needs", ()):
            if metric not in measured:
                raise ConfigurationError(_complaint(component.name, metric, measured))


def _complaint(criterion: str, metric: str, measured: set[str]) -> str:
    if metric == TRAIN_LOSS:
        why = "driver.skip_training leaves out: set it to false, or remove the criterion"
        return f"stop {criterion!r} needs {metric!r}, which {why}"
    source = next((c.name for c in components("metrology") if metric in _measures(c.factory)), None)
    if source is not None:
        hint = f"add {source} to strategies.metrology"
    else:
        hint = str(UnknownNameError("metric", metric, measured))
    return f"stop {criterion!r} needs the metric {metric!r}, which nothing measures: {hint}"


def _measures(factory: Any) -> tuple[str, ...]:
    return tuple(getattr(factory, "measures", ()))
