"""Whether what components wait for is there: metrics that are measured, views of the learner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from querist.commands.work import parts_of
from querist.config.experiment import Experiment
from querist.errors import ConfigurationError, UnknownNameError
from querist.protocols import Learner, QueryStrategy
from querist.registry import components
from querist.runs.strategies import Strategies
from querist.views import needs_of, require_views

TRAIN_LOSS = "train_loss"


def check_needs(experiment: Experiment, strategies: Strategies) -> None:
    """Refuse a stop criterion or a gate that waits for a metric that nobody measures.

    They say what they cannot do without by an attribute `needs`, a metrology strategy what it
    measures by `measures`. Where one strategy does not say it, nothing can be checked. A gate says
    by `not_in_runs` what it compares that only models outside of runs have.

    Raises:
        ConfigurationError: which one needs which metric.
    """
    for what in getattr(strategies.gate, "not_in_runs", ()):
        raise ConfigurationError(
            f"a gate inside a run has the predictions of each iteration's model, and no {what}: "
            "remove the check, or leave it to retraining"
        )
    measured = metrics_of(strategies.metrology)
    if measured is None:
        return
    if not experiment.driver.skip_training:
        measured.add(TRAIN_LOSS)
    for component, criterion in zip(experiment.stop, strategies.stop, strict=True):
        check_measured(f"stop {component.name!r}", criterion, measured)
    if experiment.gate is not None:
        gate = f"gate {experiment.gate.name!r}"
        check_measured(gate, strategies.gate, measured - {TRAIN_LOSS})


def check_views(learner: Learner, query: Iterable[tuple[str, QueryStrategy]]) -> None:
    """Refuse a query strategy that asks the learner for what it cannot give.

    Raises:
        StrategyError: which one, what is missing, and what the learner can run.
    """
    for name, strategy in query:
        _check_views(learner, strategy, f"the query strategy {name!r}")


def _check_views(learner: Learner, strategy: Any, what: str) -> None:
    """Of nested strategies first, so that the one that asks is named."""
    for inner in parts_of(strategy):
        _check_views(learner, inner, f"{_name(inner)!r} in {what}")
    require_views(learner, needs_of(strategy), what)


def _name(strategy: Any) -> str:
    """What a query strategy is registered as, else its class."""
    kind = type(strategy)
    return next((one.name for one in components("query") if one.factory is kind), kind.__name__)


def metrics_of(metrology: Iterable[Any]) -> set[str] | None:
    """What metrology strategies measure; None where one of them does not say it."""
    said = [getattr(strategy, "measures", None) for strategy in metrology]
    if any(measures is None for measures in said):
        return None
    return {metric for measures in said for metric in measures or ()}


def check_measured(what: str, component: Any, measured: set[str]) -> None:
    """Refuse a component that needs a metric which is not among those that are measured.

    Raises:
        ConfigurationError: which metric, and how to have it measured.
    """
    for metric in getattr(component, "needs", ()):
        if metric not in measured:
            raise ConfigurationError(_complaint(what, metric, measured))


def _complaint(what: str, metric: str, measured: set[str]) -> str:
    if metric == TRAIN_LOSS and not what.startswith("gate"):
        why = "driver.skip_training leaves out: set it to false, or remove the criterion"
        return f"{what} needs {metric!r}, which {why}"
    source = next((c.name for c in components("metrology") if metric in _measures(c.factory)), None)
    if source is not None:
        hint = f"add {source} to strategies.metrology"
    else:
        hint = str(UnknownNameError("metric", metric, measured))
    return f"{what} needs the metric {metric!r}, which nothing measures: {hint}"


def _measures(factory: Any) -> tuple[str, ...]:
    return tuple(getattr(factory, "measures", ()))
