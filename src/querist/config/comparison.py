"""A comparison: variants of one experiment over several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from querist.config.driver import check_run_id
from querist.config.experiment import Experiment
from querist.config.group import Group
from querist.config.limits import check_limits, shown
from querist.config.load import build_experiment, merge, read_yaml
from querist.directions import direction_of
from querist.errors import ConfigurationError

VARIANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,40}$"


class Comparison(Group):
    """Variants of one experiment over several seeds, with their learning curves side by side."""

    name: str = Field(min_length=1, max_length=100)
    """What people call it."""

    base: Experiment
    """The experiment that every variant changes. In a file: the path of its YAML, from there."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(min_length=1, max_length=1000)
    """Every variant runs once per seed."""

    variants: dict[str, dict[str, JsonValue]] = Field(min_length=1, max_length=100)
    """By name: what to merge over the base experiment; `{}` is the base as it is."""

    metric: str = Field(default="f1", min_length=1, max_length=200)
    """The metric that is compared."""

    baseline: str | None = None
    """The variant that others are compared with. Default: the first."""

    @field_validator("variants")
    @classmethod
    def _plain_names(cls, variants: dict[str, Any]) -> dict[str, Any]:
        import re

        for name in variants:
            if not re.fullmatch(VARIANT_PATTERN, name, re.ASCII):
                raise ValueError(
                    f"a variant's name has up to 41 letters, digits, blanks, '_' and '-', unlike "
                    f"{name!r}"
                )
        return variants

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, value: Any) -> Any:
        check_limits(value)
        return value

    @model_validator(mode="after")
    def _variants_are_experiments(self) -> Self:
        if self.baseline is not None and self.baseline not in self.variants:
            raise ValueError(
                f"baseline {self.baseline!r} is no variant: name one of {', '.join(self.variants)}"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("each seed runs once: remove the repeated ones")
        direction_of(self.metric)
        ids = [self.run_id("x", variant, 0) for variant in self.variants]
        if len(set(ids)) != len(ids):
            raise ValueError(
                "variants need names that differ in more than blanks and '-': rename one of "
                f"{', '.join(self.variants)}"
            )
        for variant in self.variants:
            self.experiment(variant, self.seeds[0])
        return self

    def run_id(self, comparison_id: str, variant: str, seed: int) -> str:
        """The run id of one variant and seed."""
        return f"{comparison_id}-{variant.replace(' ', '-')}-{seed}"

    def check_id(self, comparison_id: str) -> None:
        """Refuse an id with which the ids of the runs would be too long.

        Raises:
            ConfigurationError: it is too long, or has characters that no run id has.
        """
        for variant in self.variants:
            for seed in self.seeds:
                try:
                    check_run_id(self.run_id(comparison_id, variant, seed))
                except ValueError as error:
                    raise ConfigurationError(str(error)) from None

    def experiment(self, variant: str, seed: int) -> Experiment:
        """The experiment of one variant and seed."""
        content = merge(self.base.model_dump(mode="json"), self.variants[variant])
        content["seed"] = seed
        content["name"] = f"{self.base.name} {variant} seed {seed}"
        content["tracking"] = {"experiment": self.name, **_set_only(content["tracking"])}
        return build_experiment(content, f"variant {variant!r}")

    def baseline_name(self) -> str:
        """The variant that others are compared with."""
        return self.baseline or next(iter(self.variants))


def _set_only(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def build_comparison(content: Mapping[str, Any], source: Path) -> Comparison:
    """The comparison in a file's content; `base` is a path relative to `source`, or a mapping.

    Raises:
        ConfigurationError: what is wrong, in one line.
    """
    from pydantic import ValidationError

    from querist.config.load import explain

    check_limits(content)
    unknown = set(content) - {"comparison"}
    inner = content["comparison"]
    if unknown or not isinstance(inner, dict):
        raise ConfigurationError(
            f"{source}: a comparison has one key, `comparison`, with everything under it, not "
            f"{shown(', '.join(sorted(map(str, unknown))) or inner)} beside it"
        )
    base = inner.get("base")
    if isinstance(base, str):
        base = read_yaml(source.parent / base)
    if not isinstance(base, dict):
        raise ConfigurationError(f"{source}: base is the path of an experiment, not {shown(base)}")
    experiment = build_experiment(base, f"{source}: base")
    try:
        return Comparison.model_validate({**inner, "base": experiment})
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {explain(error, Comparison)}") from error
