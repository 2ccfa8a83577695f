"""An experiment's components, built: once, and anew where a schedule changes their options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from querist.adapters.driver_view import DriverView
from querist.adapters.queue_style import (
    QueueLabel,
    QueueMetrology,
    QueueQuery,
    as_label,
    as_metrology,
    as_query,
)
from querist.commands.work import WORK, parts_of, work_in
from querist.config.component import Component
from querist.config.experiment import Experiment
from querist.protocols import (
    Gate,
    LabelStrategy,
    MetrologyStrategy,
    QueryStrategy,
    Schedule,
    StopCriterion,
)
from querist.runs.data import build_component
from querist.runs.label_source import LabelSource

if TYPE_CHECKING:
    from querist.runs.run import Run

Built = TypeVar("Built")


@dataclass(frozen=True)
class Strategies:
    """The experiment's components, built."""

    query: Sequence[tuple[str, QueryStrategy]]
    label: LabelStrategy | None
    metrology: Sequence[MetrologyStrategy]
    stop: Sequence[StopCriterion]
    schedules: Sequence[tuple[str, Schedule]]
    gate: Gate | None

    def all(self) -> Iterator[Any]:
        """Each of them."""
        yield from (strategy for _, strategy in self.query)
        yield from (self.label, *self.metrology, *self.stop)
        yield from (schedule for _, schedule in self.schedules)
        yield self.gate


def uses_test_set(strategy: MetrologyStrategy) -> bool:
    """Whether it measures predictions on held-out samples, and not what it finds by itself."""
    if isinstance(strategy, QueueMetrology):
        return False
    return bool(getattr(strategy, "needs_test_set", True))


def build_strategies(experiment: Experiment) -> Strategies:
    """The experiment's strategies."""
    named = experiment.strategies
    return Strategies(
        query=[_query(q) for q in named.query],
        label=None if named.label is None else as_label(build_component("label", named.label)),
        metrology=[_metrology(m) for m in named.metrology],
        stop=[_stop(s) for s in experiment.stop],
        schedules=build_schedules(experiment),
        gate=None if experiment.gate is None else build_component("gate", experiment.gate),
    )


def build_schedules(experiment: Experiment) -> list[tuple[str, Schedule]]:
    """The experiment's schedules, each with its group."""
    return [(s.group, build_component("schedule", s)) for s in experiment.schedules]


def rebuilt(built: Strategies, before: Experiment, now: Experiment) -> Strategies:
    """`built` for the settings of `now`: what has other options than `before` is built anew.

    The label strategy is not: labels that are pending are asked of the one they were asked of.
    """
    old, new = before.strategies, now.strategies
    return replace(
        built,
        query=_rebuilt(built.query, old.query, new.query, _query),
        metrology=_rebuilt(built.metrology, old.metrology, new.metrology, _metrology),
        stop=_rebuilt(built.stop, before.stop, now.stop, _stop),
    )


def _rebuilt(
    built: Sequence[Built],
    before: Sequence[Component],
    now: Sequence[Component],
    make: Callable[[Component], Built],
) -> Sequence[Built]:
    there = dict(enumerate(zip(before, built, strict=True)))
    return [
        there[i][1] if i in there and is_same(there[i][0], component) else make(component)
        for i, component in enumerate(now)
    ]


def is_same(one: Component, other: Component) -> bool:
    """Whether two components are built alike."""
    return (one.name, one.options) == (other.name, other.options)


def _query(component: Component) -> tuple[str, QueryStrategy]:
    return component.name, as_query(build_component("query", component))


def _metrology(component: Component) -> MetrologyStrategy:
    return as_metrology(build_component("metrology", component))


def _stop(component: Component) -> StopCriterion:
    criterion: StopCriterion = build_component("stop", component)
    return criterion


def build_label_source(component: Component, strategy: LabelStrategy | None = None) -> LabelSource:
    """The label source of a component; from its strategy, where that is built."""
    if strategy is None:
        strategy = as_label(build_component("label", component))
    options = component.model_dump(mode="json")["options"]
    return LabelSource.of(strategy, component.name, options)


def bind_to_run(components: Iterable[Any], run: Run) -> None:
    """Attach components to an open run: programs to its work folder, queue style to its driver."""
    view = DriverView(run)
    for strategy in components:
        work_in(strategy, run.reference.folder / WORK)
        _attach(strategy, view)


def _attach(strategy: Any, view: DriverView) -> None:
    """Bind a strategy of the queue style to its driver, and those that a strategy holds."""
    if isinstance(strategy, QueueQuery | QueueLabel | QueueMetrology):
        strategy.bind(view)
        return
    for part in parts_of(strategy):
        _attach(part, view)
