"""A component by name, with its options."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, model_validator

from querist.commands.allowed import check_component
from querist.config.group import Group
from querist.config.nested import check_nested
from querist.registry import check_import_path, is_import_path


class Component(Group):
    """A component named, not imported: `{name: margin, options: {...}}`, or just `margin`."""

    name: str = Field(min_length=1, max_length=200, examples=["margin"])
    """A registered name, or an import path `package.module:attribute` of an allowed package."""

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """What the component is built with."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "options" in value and "name" not in value:
            raise ValueError("options without a name have no effect: name the component")
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _operator_allows_it(self) -> Component:
        if is_import_path(self.name):
            check_import_path(self.name)
        check_component(self.name, self.options)
        return self


class QueryComponent(Component):
    """A query strategy and how many samples it may choose in an iteration."""

    n: int | None = Field(default=None, ge=1, le=10**9)
    """Samples per iteration. May stand under `options` as well. Default: what is left of
    `strategies.batch` when its turn comes."""

    @model_validator(mode="before")
    @classmethod
    def _n_from_options(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("options"), dict):
            options = dict(value["options"])
            if "n" in options and "n" not in value:
                return {**value, "n": options.pop("n"), "options": options}
        return value

    @model_validator(mode="after")
    def _parts_are_allowed(self) -> QueryComponent:
        if not is_import_path(self.name):  # what options of other people's mean, we do not know
            check_nested(self.options)
        return self

    @property
    def own_number(self) -> int | None:
        """`n`, or what a queue-style strategy says as its `max_samples`."""
        given = self.options.get("max_samples")
        return self.n or (given if isinstance(given, int) else None)
