"""Merging what a schedule says into the settings, and finding it there again.

A list of components (`strategies.query`, `strategies.metrology`, `stop`) is overridden by its
entries: `{margin: {n: 5}}` is for the entry of this name, `{0: {n: 5}}` for the first one, and
where there is only one entry, `{n: 5}` is for that. A list that is given replaces the list.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from querist.config.component import QueryComponent
from querist.config.strategies import StrategiesConfig
from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError
from querist.registry import find
from querist.training.optimizers import find_optimizer, find_scheduler

FIELD_TYPES = {
    group: {key: str(field.annotation) for key, field in model.model_fields.items()}
    for group, model in (("training", TrainingConfig), ("strategies", StrategiesConfig))
}
"""How the settings of a group are annotated."""

QUERY = "strategies.query"
KINDS = {
    QUERY: "query",
    "strategies.label": "label",
    "strategies.metrology": "metrology",
    "stop": "stop",
    "training.optimizer": "optimizer",
    "training.scheduler": "scheduler",
}
"""What kind of component stands where."""


def nested(group: str, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """A group's overrides as overrides of the whole experiment."""
    for step in reversed(group.split(".")):
        overrides = {step: overrides}
    return overrides


def merge_overrides(
    content: Mapping[str, Any], overrides: Mapping[str, Any], *, rounds: bool = False
) -> dict[str, Any]:
    """`content`, an experiment as plain values, with overrides merged in.

    Args:
        content: is not changed.
        overrides: of the whole experiment.
        rounds: round numbers where the setting is a whole one.

    Raises:
        ConfigurationError: an override is for an entry that a list of components does not have.
    """
    merged: dict[str, Any] = _merge("", content, overrides, rounds, {})
    return merged


def _merge(place: str, present: Any, over: Any, rounds: bool, types: Mapping[str, str]) -> Any:
    """`over` merged into what is present at `place`, where options have these types."""
    if place in KINDS and isinstance(present, Mapping) and isinstance(over, str):
        over = {"name": over}
    if not isinstance(over, Mapping):
        return over
    if isinstance(present, list):
        merged = list(present)
        for address, position, part in _addressed(present, over):
            if position is None:
                raise _no_entry(place, present, address)
            merged[position] = _merge(place, merged[position], part, rounds, types)
        return merged
    if not isinstance(present, Mapping):
        return over
    if over.get("name", present.get("name")) != present.get("name"):
        return over  # a component that is named anew starts with options of its own
    if place in FIELD_TYPES:
        types = FIELD_TYPES[place]
    elif place in KINDS:
        types = {"n": "int"}
    return {**present} | {
        key: _merge(
            f"{place}.{key}".lstrip("."),
            present.get(key),
            round(value) if rounds and _is_off(value, present.get(key), types.get(key)) else value,
            rounds,
            _option_types(place, present) if rounds and key == "options" else {},
        )
        for key, value in _entry_keys(place, over).items()
    }


def _entry_keys(place: str, over: Mapping[str, Any]) -> Mapping[str, Any]:
    """A query strategy's `n` may stand under its options."""
    options = over.get("options")
    if place != QUERY or not isinstance(options, Mapping) or "n" not in options or "n" in over:
        return over
    return {**over, "n": options["n"], "options": {k: v for k, v in options.items() if k != "n"}}


def _addressed(
    present: list[Any], over: Mapping[str, Any]
) -> Iterator[tuple[str, int | None, Any]]:
    """Address, position and override of each entry; None where there is no such entry."""
    if QueryComponent.model_fields.keys() >= over.keys():
        if over:
            yield "", 0 if len(present) == 1 else None, over
        return
    for address, part in over.items():
        yield address, _position(present, address), part


def _position(present: list[Any], address: str) -> int | None:
    if address.isdecimal():
        return int(address) if int(address) < len(present) else None
    found = [i for i, name in enumerate(map(_name, present)) if address in _short(name)]
    return found[0] if len(found) == 1 else None


def _name(entry: Any) -> str:
    return str(entry.get("name")) if isinstance(entry, Mapping) else str(entry)


def _short(name: str) -> tuple[str, str]:
    """A name, and what is behind the colon of an import path."""
    return name, name.partition(":")[2]


def _no_entry(place: str, present: list[Any], address: str) -> ConfigurationError:
    names = ", ".join(f"{i} = {_name(entry)}" for i, entry in enumerate(present)) or "none"
    which = repr(address) if address else "which entry is meant"
    rule = f"has no entry {which}" if address else f"does not say {which}"
    return ConfigurationError(
        f"an override of {place} is by the entry's name, or its position where two have the same, "
        f"and this one {rule}: write {{entry: {{...}}}}, the entries are {names}"
    )


def _is_off(value: Any, present: Any, annotation: str | None) -> bool:
    """Whether `value` is a number with a fraction's type where a whole number belongs."""
    if not isinstance(value, float) or not math.isfinite(value):
        return False
    kinds = set(re.findall(r"\b(?:int|float|bool)\b", annotation or ""))
    if kinds:
        return "int" in kinds and "float" not in kinds
    return isinstance(present, int) and not isinstance(present, bool)


def _option_types(place: str, component: Mapping[str, Any]) -> Mapping[str, str]:
    """How the options of a component are annotated."""
    kind, name = KINDS.get(place), str(component.get("name"))
    if kind is None:
        return {}
    if kind == "optimizer":
        return _annotations(find_optimizer(name))
    return _annotations(find_scheduler(name) if kind == "scheduler" else find(kind, name))


@cache
def _annotations(factory: Any) -> Mapping[str, str]:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    return {n: str(p.annotation) for n, p in parameters.items() if p.annotation is not p.empty}


def numbers_of(
    content: Any, overrides: Any, place: str = "", name: str = ""
) -> Iterator[tuple[str, float]]:
    """The numbers that `content` holds where `overrides` change something, by dotted name."""
    if not isinstance(overrides, Mapping):
        if isinstance(content, int | float) and not isinstance(content, bool):
            yield name, content
    elif isinstance(content, list):
        for address, position, part in _addressed(content, overrides):
            if position is not None:
                below = f"{name}.{address}".rstrip(".")
                yield from numbers_of(content[position], part, place, below)
    elif isinstance(content, Mapping):
        for key, part in _entry_keys(place, overrides).items():
            inside = f"{place}.{key}".lstrip("."), f"{name}.{key}".lstrip(".")
            yield from numbers_of(content.get(key), part, *inside)
