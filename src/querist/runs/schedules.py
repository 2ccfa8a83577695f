"""Settings that schedules change from iteration to iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from querist.config.experiment import Experiment
from querist.config.load import build_experiment, merge
from querist.errors import ConfigurationError
from querist.protocols import Schedule
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
    "strategies": frozenset({"batch", "chunk_size"}),
}
"""What is read anew in every iteration; everything else is built once, when the run is opened."""

CHECKED_AHEAD = 1000
"""Iterations whose settings are checked before a run starts."""


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
    content: dict[str, Any] = experiment.model_dump(mode="json")
    for group, schedule in schedules:
        settings = schedule.settings(iteration, history)
        fixed = [key for key in settings if key in content[group] and key not in CHANGEABLE[group]]
        if fixed:
            raise ConfigurationError(
                f"a schedule cannot change {group}.{fixed[0]}, which is fixed for the run: it "
                f"can change {', '.join(sorted(CHANGEABLE[group]))}"
            )
        content[group] = merge(content[group], settings)
    return build_experiment(content, f"the schedules in iteration {iteration}")


def check_schedules(experiment: Experiment, schedules: Sequence[tuple[str, Schedule]]) -> None:
    """Refuse a schedule that would break the run later, as far as that can be seen now.

    Raises:
        ConfigurationError: the first iteration whose settings are refused.
    """
    if schedules:
        for iteration in range(min(experiment.driver.max_active_learning_steps, CHECKED_AHEAD)):
            scheduled(experiment, schedules, iteration, ())
