"""Settings that schedules change from iteration to iteration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from querist.config.component import Component
from querist.config.experiment import Experiment
from querist.config.load import build_experiment
from querist.errors import ConfigurationError
from querist.protocols import ForeseenSchedule, Schedule
from querist.registry import build, check_options
from querist.runs.overrides import merge_overrides, nested, numbers_of
from querist.runs.strategies import build_schedules
from querist.values import History

CHANGEABLE = {
    "training": frozenset(
        {
            "max_training_epochs",
            "max_fine_tuning_epochs",
            "batch_size",
            "optimizer",
            "scheduler",
            "fine_tuning_lr",
            "reset_optimizer",
            "warm_start",
            "early_stopping",
            "checkpoint_epochs",
        }
    ),
    "strategies": frozenset(
        {
            "query",
            "batch",
            "label",
            "label_attempts",
            "label_backoff_seconds",
            "label_timeout_seconds",
            "metrology",
            "chunk_size",
        }
    ),
}
"""What is read anew in every iteration; everything else is built once, when the run is opened."""

CHECKED_AHEAD = 1000
"""Iterations whose settings are checked before a run starts, beside the last one."""

CHECKED_LAST = 100_000
"""A later iteration than this one is not checked, however long a run may be."""


def scheduled(
    experiment: Experiment,
    schedules: Sequence[tuple[str, Schedule]],
    iteration: int,
    history: History,
) -> Experiment:
    """The experiment with what the schedules say for `iteration` merged in.

    Raises:
        ConfigurationError: a schedule gave a key or value that the group refuses, or a setting
            that cannot change on the way.
    """
    said = _said(schedules, iteration, history)
    return with_overrides(experiment, said, f"the schedules in iteration {iteration}")


_Said = list[tuple[Mapping[str, Any], bool]]
"""Overrides of the whole experiment, each with whether its numbers are rounded."""


def _said(schedules: Sequence[tuple[str, Schedule]], iteration: int, history: History) -> _Said:
    return [
        (nested(group, schedule.settings(iteration, history)), _rounds(schedule))
        for group, schedule in schedules
    ]


def _rounds(schedule: Schedule) -> bool:
    return bool(getattr(schedule, "rounds", False))


def with_overrides(experiment: Experiment, said: _Said, source: str) -> Experiment:
    """The experiment with overrides merged in, one after the other.

    Args:
        experiment: the settings without them.
        said: overrides of the whole experiment, each with whether its numbers are rounded.
        source: who said so, for messages.

    Raises:
        ConfigurationError: a key or value that the group refuses, or one that cannot change.
    """
    content = experiment.model_dump(mode="json", exclude={"schedules"})
    for overrides, rounds in said:
        _check_changeable(content, overrides, source)
        content = merge_overrides(content, overrides, rounds=rounds)
    changed = build_experiment(content, source)
    return changed.model_copy(update={"schedules": experiment.schedules})


def _check_changeable(
    content: Mapping[str, Any], overrides: Mapping[str, Any], source: str
) -> None:
    for group, settings in overrides.items():
        changeable = CHANGEABLE.get(group)
        if changeable is None:
            continue
        fixed = [key for key in settings if key in content[group] and key not in changeable]
        if fixed:
            raise ConfigurationError(
                f"{source} cannot change {group}.{fixed[0]}, which is fixed for the run: only "
                f"{', '.join(sorted(changeable))} can change"
            )


def check_schedules(experiment: Experiment) -> None:
    """Refuse a schedule that would break the run later, as far as that can be seen now.

    Iterations are checked up to `CHECKED_AHEAD`, and the last one; beyond that whatever a schedule
    that is a `ForeseenSchedule` has in store, for whichever iteration.

    Raises:
        ConfigurationError: the first settings that are refused.
    """
    if not experiment.schedules:
        return
    schedules = build_schedules(experiment)
    steps = experiment.driver.max_active_learning_steps
    last = min(steps - 1, CHECKED_LAST)
    known: dict[str, Experiment] = {}

    def checked(said: _Said, source: str) -> Experiment:
        content = json.dumps(said, default=repr)
        if content not in known:
            known[content] = with_overrides(experiment, said, source)
            check_changed(experiment, known[content], values=False)
        return known[content]

    for iteration in sorted({*range(min(steps, CHECKED_AHEAD)), last}):
        said = _said(schedules, iteration, ())
        changed = checked(said, f"the schedules in iteration {iteration}")
        if iteration in (0, last):
            check_changed(experiment, changed, values=True)
    said = _said(schedules, 0, ())
    for number, (group, schedule) in enumerate(schedules):
        if isinstance(schedule, ForeseenSchedule):
            for overrides in schedule.overrides():
                foreseen = [*said]
                foreseen[number] = (nested(group, overrides), _rounds(schedule))
                changed = checked(foreseen, f"a schedule of {group}")
                check_changed(experiment, changed, values=True)


def check_changed(base: Experiment, changed: Experiment, *, values: bool = True) -> None:
    """Refuse options that a component of `changed` does not take.

    Args:
        base: what is the same there was checked before.
        changed: the settings to check.
        values: see as well whether the components take the options' values.
    """
    before = list(_components(base))
    for kind, component in _components(changed):
        if (kind, component) not in before:
            (build if values else check_options)(kind, component.name, component.options)


def _components(experiment: Experiment) -> Iterator[tuple[str, Component]]:
    named = experiment.strategies
    yield from (("query", component) for component in named.query)
    if named.label is not None:
        yield "label", named.label
    yield from (("metrology", component) for component in named.metrology)
    yield from (("stop", component) for component in experiment.stop)


def scheduled_numbers(
    schedules: Sequence[tuple[str, Schedule]],
    settings: Mapping[str, Any],
    iteration: int,
    history: History,
) -> dict[str, float]:
    """The numbers in force that are scheduled, by dotted name, such as `training.batch_size`.

    Args:
        schedules: each with its group.
        settings: the experiment as it was in force, as plain values.
        iteration: when it was.
        history: the iterations before it.
    """
    found: dict[str, float] = {}
    for group, schedule in schedules:
        may_say = (
            schedule.overrides()
            if isinstance(schedule, ForeseenSchedule)
            else [schedule.settings(iteration, history)]
        )
        for overrides in may_say:
            found |= dict(numbers_of(settings, nested(group, overrides)))
    return found
