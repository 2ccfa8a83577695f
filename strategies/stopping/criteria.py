"""Stop criteria that are named inside another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from querist.errors import ConfigurationError, UnknownNameError
from querist.protocols import StopCriterion
from querist.registry import build

KEYS = ("name", "options")


def build_criteria(owner: str, criteria: Sequence[str | Mapping[str, Any]]) -> list[StopCriterion]:
    """The stop criteria in a list of names or `{name: ..., options: {...}}`.

    Args:
        owner: the criterion whose list it is, for messages.
        criteria: at least one.

    Raises:
        ConfigurationError: the list is empty or no list, or one of them cannot be built.
    """
    if isinstance(criteria, str | Mapping) or not isinstance(criteria, Sequence) or not criteria:
        raise ConfigurationError(
            f"criteria of {owner} is a list of at least one stop criterion, not {criteria!r:.80}: "
            "write [{name: max_iterations, options: {n: 10}}, ...]"
        )
    return [_build_one(owner, criterion) for criterion in criteria]


def needs_of(criteria: Sequence[StopCriterion]) -> tuple[str, ...]:
    """The metrics that any of the criteria cannot do without."""
    return tuple(dict.fromkeys(m for c in criteria for m in getattr(c, "needs", ())))


def _build_one(owner: str, criterion: str | Mapping[str, Any]) -> StopCriterion:
    if isinstance(criterion, str):
        criterion = {"name": criterion}
    if not isinstance(criterion, Mapping) or not isinstance(criterion.get("name"), str):
        raise ConfigurationError(
            f"each of the criteria of {owner} has a name, unlike {criterion!r:.80}: "
            "write {name: ..., options: {...}}"
        )
    for key in criterion:
        if key not in KEYS:
            raise UnknownNameError(f"key of a criterion of {owner}", str(key), KEYS)
    options = criterion.get("options", {})
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"options of {criterion['name']!r} in {owner} is a mapping, not {options!r:.80}: "
            "write options: {...}"
        )
    built: StopCriterion = build("stop", criterion["name"], options)
    return built
