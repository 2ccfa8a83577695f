"""Settings of retraining: what a registered model learns from, and when its champion changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from querist.config.compare import CompareConfig
from querist.config.component import Component
from querist.config.driver import RunId, check_folder
from querist.config.experiment import Experiment
from querist.config.group import Group
from querist.config.limits import MAX_COMPONENTS, check_limits
from querist.config.load import build_experiment, explain, read_yaml
from querist.config.subsets import TEST, TRAIN, SubsetName, SubsetsConfig
from querist.config.tracking import TrackingConfig
from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError

Filter = dict[str, JsonValue]
"""A filter over items' metadata: see `querist.items.filters`."""


class ItemsConfig(Group):
    """What the model learns from, and what it is tested on."""

    source: Component
    """Where items and their labels come from: `labeled_run` (what an active-learning run has
    labeled), `pool`, `files`, or a class of an allowed package."""

    split: SubsetsConfig = SubsetsConfig()
    """How items are split into subsets. An item keeps its subset for ever."""

    train_subset: SubsetName = TRAIN
    """The subset that is trained on."""

    test_subset: SubsetName = TEST
    """The subset that champion and challenger are compared on."""

    train_filter: Filter | None = Field(
        default=None, min_length=1, examples=[{"site": "north", "age": {"$gte": 18}}]
    )
    """Train only on items of the subset whose metadata match. Default: as the base version."""

    test_filter: Filter | None = Field(
        default=None, min_length=1, examples=[{"site": {"$in": ["north", "south"]}}]
    )
    """Compare only on items of the subset whose metadata match. Default: as the base version."""

    @field_validator("train_filter", "test_filter")
    @classmethod
    def _filters_are_filters(cls, value: Filter | None) -> Filter | None:
        from querist.items.filters import compile_filter  # late: sources of items read settings

        if value is not None:
            compile_filter(value)
        return value

    @model_validator(mode="after")
    def _test_items_are_not_trained_on(self) -> Self:
        known = self.split.shares
        for key in ("train_subset", "test_subset"):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"{key} is one of the split's subsets, {', '.join(known)}, not "
                    f"{getattr(self, key)!r}: correct it, or add it to split.subsets"
                )
        if self.train_subset == self.test_subset:
            raise ValueError(
                f"a model is never tested on what it was trained on: train_subset and test_subset "
                f"are both {self.train_subset!r}, choose two"
            )
        return self


class BaseConfig(Group):
    """Where a new version starts."""

    start: Literal["champion", "version", "run", "scratch"] = "champion"
    """`champion`: go on from the present champion (the first version: from first weights).
    `version`: from that version. `run`: from the model that an active-learning run has yielded.
    `scratch`: from first weights."""

    version: int | None = Field(default=None, ge=1, lt=2**31, examples=[3])
    """For `version`: which one."""

    run_id: RunId | None = Field(default=None, examples=["digits-labels"])
    """For `run`: which one, in the same folder."""

    @model_validator(mode="after")
    def _named_where_it_counts(self) -> Self:
        for key in ("version", "run_id"):
            wanted = self.start == key.removesuffix("_id")
            if wanted != (getattr(self, key) is not None):
                what = "needs" if wanted else "has no"
                raise ValueError(f"base.start {self.start!r} {what} base.{key}: correct one")
        return self


class DriftConfig(Group):
    """When new items are so unlike those that the champion was trained on that it retrains."""

    features: float | None = Field(default=None, gt=0.0, le=1.0, examples=[0.2])
    """Largest Kolmogorov-Smirnov distance (0 to 1) of any feature between new items and those
    that the champion was trained on. Default: features are not looked at."""

    confidence: float | None = Field(default=None, gt=0.0, le=1.0, examples=[0.2])
    """The same distance for the champion's confidence, its highest class probability. Default: it
    is not looked at."""

    significance: float = Field(default=0.01, gt=0.0, lt=1.0)
    """A distance counts only when chance gives it with less than this probability, corrected for
    the number of features."""

    min_items: int = Field(default=50, ge=2, le=10**9)
    """With fewer new items nothing is said."""

    @model_validator(mode="after")
    def _looks_at_something(self) -> Self:
        if self.features is None and self.confidence is None:
            raise ValueError("drift looks at features, confidence, or both: set a threshold")
        return self


class WhenConfig(Group):
    """What there must be to learn; any of these is enough."""

    new_labels: int = Field(default=1, ge=0, le=10**9, examples=[50])
    """So many labels that no retraining has learned from, new ones and corrected ones. 0: a new
    version in every window, whether or not there are new labels."""

    drift: DriftConfig | None = None
    """Or: new items, labeled or not, are unlike those of before, and a label is new."""


class CollectionConfig(Group):
    """Labels that are asked for before each retraining, by an active-learning run."""

    run_id: RunId = Field(examples=["digits-labels"])
    """The run; made unless it is there, and gone on with each time."""

    iterations: int = Field(default=1, ge=1, le=10**6, examples=[2])
    """Iterations of the run each time."""

    experiment: Experiment
    """The run's experiment."""


class Retraining(Group):
    """One registered model: what it learns from, how, and when its champion changes."""

    model: RunId = Field(examples=["digits"])
    """The registered model's name, in the ledger and in MLflow."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """All randomness is derived from it."""

    data: ItemsConfig
    """What the model learns from, and what it is tested on."""

    learner: Component | None = None
    """The model. Default: as the base version; the first version needs one."""

    training: TrainingConfig = TrainingConfig()
    """How the model is fitted. What is set here goes over what the base version has."""

    metrology: tuple[Component, ...] = Field(default=(), max_length=MAX_COMPONENTS)
    """What is measured on the test subset, beside what the checks compare."""

    base: BaseConfig = BaseConfig()
    """Where a new version starts."""

    compare: CompareConfig = CompareConfig()
    """When the challenger takes the champion's place."""

    when: WhenConfig = WhenConfig()
    """What there must be to learn; without it, a retraining does nothing."""

    busy: Literal["wait", "skip"] = "wait"
    """When another retraining of this model goes on: `wait` for it, or `skip` this one."""

    collect: CollectionConfig | None = None
    """Ask for labels first. Default: labels come from elsewhere."""

    root_log_dir: Annotated[Path, AfterValidator(check_folder)] = Path("active_learning_logs")
    """Folder that holds the model's folder, and those of runs."""

    tracking: TrackingConfig = TrackingConfig()
    """What goes to MLflow."""

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("metrology"), str | dict):
            return {**value, "metrology": [value["metrology"]]}
        return value

    @model_validator(mode="after")
    def _learns_classes_or_numbers(self) -> Self:
        if self.training.loss == "multilabel":
            raise ValueError(
                "a registered model learns classes or numbers, and training.loss is multilabel: "
                "learn labels in a run, or one of them at a time"
            )
        return self

    @model_validator(mode="after")
    def _collects_what_it_learns(self) -> Self:
        if self.collect is None:
            return self
        if self.collect.run_id == self.model:
            raise ValueError(
                f"collect.run_id and model would share the folder {self.model!r}: name the run "
                "otherwise"
            )
        source = self.data.source
        learned = source.options.get("run_id")
        if source.name == "labeled_run" and learned != self.collect.run_id:
            raise ValueError(
                f"collect buys labels for run {self.collect.run_id!r}, and data.source learns from "
                f"{learned!r}: name one run"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, value: Any) -> Any:  # the last one that is defined is the first that runs
        check_limits(value)
        return value


def is_retraining(content: Mapping[str, Any]) -> bool:
    """Whether a file's content is about a registered model, not about an experiment."""
    return "model" in content


def build_retraining(content: Mapping[str, Any], source: Path) -> Retraining:
    """The retraining in a file's content.

    `collect.experiment` may be the path of an experiment's file, relative to `source`.

    Raises:
        ConfigurationError: the first thing that is wrong with it, in one line.
    """
    collect = content.get("collect")
    if isinstance(collect, dict) and isinstance(collect.get("experiment"), str):
        inner = source.parent / collect["experiment"]
        experiment = build_experiment(read_yaml(inner), f"{source}: collect.experiment")
        collect = {**collect, "experiment": experiment}
        content = {**content, "collect": collect}
    try:
        return Retraining.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {explain(error, Retraining)}") from error
