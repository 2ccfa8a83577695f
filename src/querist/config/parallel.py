"""Parallel learners: one experiment in several forms that run side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from querist.config.driver import RunId, check_run_id
from querist.config.experiment import Experiment
from querist.config.group import Group
from querist.config.limits import check_limits, shown
from querist.config.load import build_experiment, explain, merge
from querist.config.strategies import with_text_keys
from querist.directions import direction_of
from querist.errors import ConfigurationError
from querist.randomness import SETUP, derive_seed

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_]{0,30}"
LEARNERS = "learners"
PARALLEL = "parallel"
_SEEDS = 2**31
_OWN_DRIVER_KEYS = ("root_log_dir", "run_id", "parent")


class LearnerConfig(Group):
    """One learner: what it is called, and what it does otherwise than the base experiment."""

    name: str = Field(min_length=1, max_length=31)
    """Names its run, `<parent>-<name>`, and its curve."""

    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Merged over the base experiment; empty = the base as it is. In a file these keys may stand
    beside `name`."""

    @model_validator(mode="before")
    @classmethod
    def _settings_beside_the_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        beside = {key: part for key, part in value.items() if key not in ("name", "settings")}
        if beside and "settings" in value:
            raise ValueError(
                f"{next(iter(beside))!r} stands beside `settings`: write all settings there, or "
                "all beside `name`"
            )
        named = {"name": value["name"]} if "name" in value else {}
        return named | {"settings": with_text_keys(value.get("settings", beside))}

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
            raise ValueError(
                "a learner's name has up to 31 letters, digits and '_', and starts with a letter "
                f"or digit, unlike {name!r}"
            )
        return name


class Quorum(Group):
    """How many learners must finish."""

    quorum: int = Field(ge=1, le=1000)
    """The parallel run fails when fewer do."""


class Resources(Group):
    """What each learner gets for itself."""

    cpus: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads of its training, where `training.threads` is `auto`. Default: its share of the
    cores, but one for small models."""

    gpus: int = Field(default=0, ge=0, le=1024)
    """GPUs that no other learner sees."""


class Selector(Group):
    """Which learner is the best one."""

    metric: str = Field(min_length=1, max_length=200)
    """The metric that counts."""

    target: float | None = None
    """The learner that needs the fewest labels to reach it is best. Default: the best final value
    counts alone."""

    direction: Literal["auto", "max", "min"] = "auto"
    """Which way the metric is better; `auto` for metrics whose direction is known."""

    challenger_of: str | None = Field(default=None, max_length=200, pattern=r"^[\w .-]+$")
    """The registered model in MLflow whose alias `challenger` shall point to the best learner's
    final model, made unless it is there. Default: none is registered."""

    @model_validator(mode="after")
    def _known_direction(self) -> Self:
        direction_of(self.metric, self.direction)
        return self


class ParallelConfig(Group):
    """Where learners run, how many at once, and what is made of their results."""

    where: Literal["processes", "threads", "ray", "dask", "deployment"] = "processes"
    """`processes` of this machine, `threads` of this process, actors on `ray` or `dask`, or each as
    a flow run of a `deployment`."""

    address: str | None = Field(default=None, max_length=1000)
    """The cluster of `ray` or `dask`; default: one on this machine, for this run alone. For
    `deployment`: FLOW/DEPLOYMENT; default: the one that `querist up` serves."""

    max_parallel: int | None = Field(default=None, ge=1, le=1000)
    """Learners at once. Default: all of them; the others wait their turn."""

    on_failure: Literal["continue", "fail_fast"] | Quorum = "continue"
    """`continue`: the others finish, and the parallel run is degraded; it fails only if none
    finishes. `fail_fast`: the others are stopped, and the parallel run fails. `quorum: k`: it fails
    when fewer than k finish."""

    resources: Resources = Resources()
    """What each learner gets for itself."""

    hang_seconds: float | None = Field(default=60.0, gt=0, le=86400)
    """A learner's process that says nothing and computes nothing for so long has failed; null = it
    is waited for. Of `processes`; clusters look after their own."""

    step_seconds: float | None = Field(default=None, gt=0, le=10**7)
    """So has one whose training, metrology, query or label step lasts longer. Default: as long as
    it takes."""

    selector: Selector | None = None
    """Choose the best learner."""

    @model_validator(mode="after")
    def _what_fits_where(self) -> Self:
        if self.resources.gpus and self.where == "threads":
            raise ValueError(
                "threads share this process's GPUs: set parallel.where to processes, or "
                "parallel.resources.gpus to 0"
            )
        if self.where == "deployment" and self.resources != Resources():
            raise ValueError(
                "the work pool says what a deployment gets: set it there, and remove "
                "parallel.resources"
            )
        if self.step_seconds is not None and self.where != "processes":
            raise ValueError(
                f"parallel.step_seconds has no effect with parallel.where {self.where!r}: remove it"
            )
        if self.address is not None and self.where in ("processes", "threads"):
            raise ValueError(
                f"parallel.address has no effect with parallel.where {self.where!r}: remove it"
            )
        return self


class ParallelExperiment(Group):
    """Learners that run side by side, each with its own run, budget, schedules and stop criteria.

    In a file: an experiment with the keys `learners` and `parallel` beside its own.
    """

    base: Experiment
    """What every learner changes. Its `driver.run_id` names the parallel run."""

    learners: tuple[LearnerConfig, ...] = Field(min_length=1, max_length=1000)
    """The learners; their names differ."""

    parallel: ParallelConfig = ParallelConfig()
    """Where they run, and what is made of their results."""

    @field_validator("learners", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A learner without a name gets its number: `learner_0`."""
        if not isinstance(value, list | tuple):
            return value
        return [
            {"name": f"learner_{number}", **(entry or {})}
            if entry is None or (isinstance(entry, dict) and "name" not in entry)
            else entry
            for number, entry in enumerate(value)
        ]

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, value: Any) -> Any:
        check_limits(value)
        return value

    @model_validator(mode="after")
    def _learners_are_experiments(self) -> Self:
        names = [learner.name for learner in self.learners]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two learners are called {twice[0]!r}: rename one of them")
        rule = self.parallel.on_failure
        if isinstance(rule, Quorum) and rule.quorum > len(names):
            raise ValueError(
                f"parallel.on_failure: a quorum of {rule.quorum} is more than the {len(names)} "
                "learners: lower it"
            )
        for name in names:
            self.experiment(name, "parent")
        return self

    def run_id(self, learner: str, parent: str) -> str:
        """The run id of a learner."""
        return f"{parent}-{learner}"

    def check_id(self, parent: str) -> None:
        """Refuse an id with which the ids of the learners would be too long.

        Raises:
            ConfigurationError: it is too long, or has characters that no run id has.
        """
        for learner in self.learners:
            try:
                check_run_id(self.run_id(learner.name, parent))
            except ValueError as error:
                raise ConfigurationError(str(error)) from None

    def experiment(self, learner: str, parent: RunId) -> Experiment:
        """The experiment of one learner.

        All see the same pool, split and initial labels; every other randomness is their own, unless
        a learner's settings say otherwise.
        """
        settings = next(one.settings for one in self.learners if one.name == learner)
        own = settings.get("driver")
        for key in _OWN_DRIVER_KEYS if isinstance(own, Mapping) else ():
            if key in own:  # type: ignore[operator]
                raise ConfigurationError(
                    f"learner {learner!r} cannot set driver.{key}, which the parallel run does: "
                    "remove it"
                )
        base = self.base.model_dump(mode="json")
        content = merge(base, settings)
        if "seed" not in settings:
            content["seed"] = derive_seed(self.base.seed, SETUP, "learner", learner) % _SEEDS
        if self.parallel.resources.cpus and content["training"].get("threads") == "auto":
            content["training"] = {**content["training"], "threads": self.parallel.resources.cpus}
        if content["data"].get("seed") is None:
            content["data"] = {**content["data"], "seed": self.base.seed}
        if "name" not in settings:
            content["name"] = f"{self.base.name[:60]} · {learner}"
        content["driver"] = {**content["driver"], "run_id": None, "parent": parent}
        tracking = content["tracking"]
        if tracking.get("experiment") is None:
            content["tracking"] = {**tracking, "experiment": self.base.name}
        return build_experiment(content, f"learner {learner!r}")


def is_parallel(content: Mapping[str, Any]) -> bool:
    """Whether a file's content is about parallel learners."""
    return LEARNERS in content or PARALLEL in content


def build_parallel(content: Mapping[str, Any], source: str) -> ParallelExperiment:
    """The parallel learners in a file's content: an experiment with `learners` and `parallel`.

    Raises:
        ConfigurationError: what is wrong, in one line.
    """
    check_limits(content)
    if not isinstance(content.get(LEARNERS), list):
        raise ConfigurationError(
            f"{source}: `learners` is a list of what each learner changes, not "
            f"{shown(content.get(LEARNERS))}"
        )
    beside = {key: part for key, part in content.items() if key not in (LEARNERS, PARALLEL)}
    base = build_experiment(beside, source)
    parts = {key: content[key] for key in (LEARNERS, PARALLEL) if key in content}
    try:
        return ParallelExperiment.model_validate({"base": base, **parts})
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {explain(error, ParallelExperiment)}") from error
