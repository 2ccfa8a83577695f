"""Settings of the strategies, and of the schedules that change settings on the way."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from querist.config.component import Component, QueryComponent
from querist.config.group import Group
from querist.config.limits import MAX_COMPONENTS


class StrategiesConfig(Group):
    """How samples are chosen, who labels them, and what is measured."""

    query: tuple[QueryComponent, ...] = Field(min_length=1, max_length=MAX_COMPONENTS)
    """Query strategies; several share the budget of an iteration in this order, no repeats."""

    batch: int | None = Field(default=None, ge=1, le=10**9)
    """Labels to ask for in an iteration, over all query strategies.
    Default: the sum of their `n` (or of their option `max_samples`), or 10."""

    label: Component | None = None
    """Where labels come from. Required unless `driver.skip_labeling`."""

    label_attempts: int = Field(default=3, ge=1, le=100)
    """How often a label source is asked in an iteration when it fails, with the same key."""

    label_backoff_seconds: float = Field(default=0.5, ge=0, le=3600)
    """Wait before it is asked again; doubles each time, up to a minute."""

    label_timeout_seconds: float | None = Field(default=None, gt=0, le=10**7)
    """How long a label source may be silent before it is given up on. Default: for ever."""

    label_sharing_seconds: float = Field(default=10.0, ge=0, le=86400)
    """How long to wait for a label that another run of a shared ledger is just buying, before this
    iteration goes on without it."""

    metrology: tuple[Component, ...] = Field(default=(), max_length=MAX_COMPONENTS)
    """What is measured in every iteration, in this order."""

    queue: Component = Component(name="ledger")
    """The hand-over between query and label: `ledger` or `memory`; requests are durable with
    both."""

    chunk_size: int = Field(default=65536, ge=1, le=10**9)
    """Samples per prediction while the pool is scored."""

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        lists = {
            k: [v]
            for k in ("query", "metrology")
            if (v := value.get(k)) is not None and not isinstance(v, list | tuple)
        }
        return {**value, **lists}

    @model_validator(mode="after")
    def _budgets_fit(self) -> Self:
        asked = [q.own_number for q in self.query]
        if self.batch is None and len(asked) > 1 and None in asked:
            raise ValueError(
                "with several query strategies each needs an n, or strategies.batch must be set"
            )
        return self

    @property
    def budget(self) -> int:
        """Labels to ask for in an iteration."""
        if self.batch is not None:
            return self.batch
        return sum(q.own_number or 10 for q in self.query)


class ScheduleConfig(Component):
    """A schedule for one group of settings."""

    group: Literal[
        "training",
        "strategies",
        "strategies.query",
        "strategies.label",
        "strategies.metrology",
        "stop",
    ]
    """The group whose settings it changes."""

    @model_validator(mode="before")
    @classmethod
    def _iterations_may_be_numbers(cls, value: Any) -> Any:
        if isinstance(value, dict) and "options" in value:
            return {**value, "options": with_text_keys(value["options"])}
        return value


def with_text_keys(value: Any) -> Any:
    """Mappings with whole numbers as keys, as YAML has them, with the text that JSON has."""
    if isinstance(value, list):
        return [with_text_keys(part) for part in value]
    if not isinstance(value, dict):
        return value
    keys = [str(key) if type(key) is int else key for key in value]
    if len(set(keys)) < len(keys):  # 0 and "0": the schedule says which one is there twice
        return value
    return {key: with_text_keys(part) for key, part in zip(keys, value.values(), strict=True)}
