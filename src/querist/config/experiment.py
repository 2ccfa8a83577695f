"""The root of the configuration, and the relations between its groups."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from querist.config.component import Component
from querist.config.data import DataConfig
from querist.config.driver import DriverConfig
from querist.config.group import Group
from querist.config.limits import MAX_COMPONENTS, check_limits
from querist.config.strategies import ScheduleConfig, StrategiesConfig
from querist.config.tracking import TrackingConfig
from querist.config.training import TrainingConfig


class Experiment(Group):
    """One active-learning experiment."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
    """What people call it, in the UIs and in MLflow."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """All randomness is derived from it."""

    data: DataConfig
    """The pool, its subsets, and what is labeled at the start."""

    learner: Component
    """The model: `sklearn` with an estimator, or a torch module of an allowed package."""

    training: TrainingConfig = TrainingConfig()
    """How the learner is fitted."""

    strategies: StrategiesConfig
    """How samples are chosen, who labels them, and what is measured."""

    stop: tuple[Component, ...] = Field(default=(), max_length=MAX_COMPONENTS)
    """Stop criteria; the first that is met ends the run. For "all of several": `all_of`."""

    schedules: tuple[ScheduleConfig, ...] = Field(default=(), max_length=MAX_COMPONENTS)
    """Settings that change from iteration to iteration."""

    gate: Component | None = None
    """Decides after every iteration whether its model takes the champion's place; the run then
    yields its champion. Default: the run yields its last model."""

    driver: DriverConfig = DriverConfig()
    """How long the loop goes on, and where it writes."""

    tracking: TrackingConfig = TrackingConfig()
    """What goes to MLflow."""

    @property
    def data_seed(self) -> int:
        """The seed of the pool, the split and the initial labels."""
        return self.seed if self.data.seed is None else self.data.seed

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        lists = {
            k: [v]
            for k in ("stop", "schedules")
            if (v := value.get(k)) is not None and not isinstance(v, list | tuple)
        }
        return {**value, **lists}

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, value: Any) -> Any:  # the last one that is defined is the first that runs
        check_limits(value)
        return value

    @model_validator(mode="after")
    def _relations(self) -> Self:
        for broken in self._broken_relations():
            raise ValueError(broken)
        return self

    def _broken_relations(self) -> list[str]:
        training, driver, strategies = self.training, self.driver, self.strategies
        broken = []
        if driver.skip_training:
            useless = {
                "fine_tuning_lr": training.fine_tuning_lr,
                "scheduler": training.scheduler,
                "early_stopping": training.early_stopping,
                "checkpoint_epochs": training.checkpoint_epochs or None,
                "train_step_fn": training.train_step_fn,
                "validate_step_fn": training.validate_step_fn,
            }
            broken += [
                f"training.{key} has no effect when driver.skip_training is true: "
                "remove one of them"
                for key, value in useless.items()
                if value is not None
            ]
        if training.fine_tuning_lr is not None and training.fine_tuning_epochs == 0:
            broken.append(
                "training.fine_tuning_lr has no effect when training.max_fine_tuning_epochs is 0: "
                "remove one of them"
            )
        if strategies.label is None and not driver.skip_labeling:
            broken.append(
                "labeling needs strategies.label: name a label strategy, or set "
                "driver.skip_labeling to true"
            )
        if strategies.label is not None and driver.skip_labeling:
            broken.append(
                "strategies.label has no effect when driver.skip_labeling is true: "
                "remove one of them"
            )
        if not strategies.metrology and not driver.skip_metrology:
            broken.append(
                "metrology needs strategies.metrology: name at least one, or set "
                "driver.skip_metrology to true"
            )
        if driver.skip_metrology:
            broken += [
                f"{what} needs metrology: set driver.skip_metrology to false or remove it"
                for what, present in (
                    ("strategies.metrology", strategies.metrology),
                    ("gate", self.gate),
                )
                if present
            ]
        if training.loop.name != "default":
            broken += [
                f"training.{key} belongs to the default training loop: remove it or the loop "
                f"{training.loop.name!r}"
                for key in training.of_the_default_loop
            ]
        return broken
