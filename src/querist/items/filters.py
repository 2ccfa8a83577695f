"""A small, safe language to choose items by their metadata.

A filter is JSON: `{"site": "north", "age": {"$gte": 18}, "$or": [{"a.b": 1}, {"a.b": 2}]}`. Keys
are dotted paths into the metadata; all entries of a mapping must match. Nothing in it is code.

Operators: `$eq`, `$ne`, `$in`, `$nin`, `$gt`, `$gte`, `$lt`, `$lte`, `$exists` on a value, and
`$and`, `$or`, `$not` on filters. What is not there, or is of another type than what it is compared
with, is not equal, not in, and neither larger nor smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from querist.errors import ConfigurationError, UnknownNameError

Matches: TypeAlias = Callable[[Mapping[str, Any]], bool]
MAX_DEPTH = 20
MAX_PARTS = 1000
MAX_KEY = 200
_MISSING = object()
_COMBINE = ("$and", "$or", "$not")


def compile_filter(wanted: Mapping[str, Any]) -> Matches:
    """A function that says whether an item's metadata match.

    Raises:
        ConfigurationError: an unknown operator, an empty filter, or one that is too deep or long.
    """
    budget = [MAX_PARTS]
    return _all_of(wanted, 0, budget)


def _all_of(wanted: Any, depth: int, budget: list[int]) -> Matches:
    if not isinstance(wanted, Mapping) or not wanted:
        raise ConfigurationError(
            f"a filter is a mapping with at least one entry, not {wanted!r:.80}: leave it out to "
            "choose everything of the subset"
        )
    if depth > MAX_DEPTH:
        raise ConfigurationError(f"a filter has at most {MAX_DEPTH} levels: simplify it")
    parts = [_entry(key, value, depth, budget) for key, value in wanted.items()]
    return lambda metadata: all(part(metadata) for part in parts)


def _entry(key: Any, value: Any, depth: int, budget: list[int]) -> Matches:
    budget[0] -= 1
    if budget[0] < 0:
        raise ConfigurationError(f"a filter has at most {MAX_PARTS} parts: simplify it")
    if not isinstance(key, str) or not key or len(key) > MAX_KEY:
        raise ConfigurationError(
            f"a filter's key is text of 1 to {MAX_KEY} characters, unlike {key!r:.80}: correct it"
        )
    if key.startswith("$"):
        return _combination(key, value, depth, budget)
    return _condition(key, value, budget)


def _combination(operator: str, value: Any, depth: int, budget: list[int]) -> Matches:
    if operator not in _COMBINE:
        raise UnknownNameError("filter operator", operator, [*_COMBINE, *_COMPARE])
    if operator == "$not":
        inner = _all_of(value, depth + 1, budget)
        return lambda metadata: not inner(metadata)
    if not isinstance(value, list) or not value:
        raise ConfigurationError(f"{operator} takes a list of filters, not {value!r:.80}")
    parts = [_all_of(part, depth + 1, budget) for part in value]
    if operator == "$and":
        return lambda metadata: all(part(metadata) for part in parts)
    return lambda metadata: any(part(metadata) for part in parts)


def _condition(key: str, value: Any, budget: list[int]) -> Matches:
    """What a key's value must be: a plain value, or operators that must all hold."""
    path = key.split(".")
    if not (isinstance(value, Mapping) and any(str(k).startswith("$") for k in value)):
        return lambda metadata: _equal(value_at(metadata, path), value)
    tests: list[tuple[Callable[[Any, Any], bool], Any]] = []
    for operator, operand in value.items():
        budget[0] -= 1
        if operator not in _COMPARE:
            raise UnknownNameError("filter operator", str(operator), _COMPARE)
        _check_operand(operator, operand)
        tests.append((_COMPARE[operator], operand))

    def holds(metadata: Mapping[str, Any]) -> bool:
        found = value_at(metadata, path)
        return all(test(found, operand) for test, operand in tests)

    return holds


def _check_operand(operator: str, operand: Any) -> None:
    if operator in ("$in", "$nin") and not isinstance(operand, list):
        raise ConfigurationError(f"{operator} takes a list, not {operand!r:.80}")
    if operator == "$exists" and not isinstance(operand, bool):
        raise ConfigurationError(f"$exists takes true or false, not {operand!r:.80}")
    if operator in _ORDER and not (_is_number(operand) or isinstance(operand, str)):
        raise ConfigurationError(f"{operator} takes a number or text, not {operand!r:.80}")


def value_at(metadata: Mapping[str, Any], path: list[str]) -> Any:
    """What stands at a path; a marker that equals nothing where nothing does."""
    here: Any = metadata
    for step in path:
        if not isinstance(here, Mapping) or step not in here:
            return _MISSING
        here = here[step]
    return here


def is_there(value: Any) -> bool:
    """Whether `value_at` has found something."""
    return value is not _MISSING


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _equal(found: Any, wanted: Any) -> bool:
    """Equality of JSON: true is not 1, however deep inside."""
    if found is _MISSING or isinstance(found, bool) != isinstance(wanted, bool):
        return False
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_equal, found, wanted))
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return found.keys() == wanted.keys() and all(_equal(found[k], wanted[k]) for k in found)
    return bool(found == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(found: Any, wanted: Any) -> bool:
        alike = (_is_number(found) and _is_number(wanted)) or (
            isinstance(found, str) and isinstance(wanted, str)
        )
        return alike and compare(found, wanted)

    return holds


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": _ordered(lambda found, wanted: found > wanted),
    "$gte": _ordered(lambda found, wanted: found >= wanted),
    "$lt": _ordered(lambda found, wanted: found < wanted),
    "$lte": _ordered(lambda found, wanted: found <= wanted),
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda found, wanted: not _equal(found, wanted),
    "$in": lambda found, wanted: any(_equal(found, one) for one in wanted),
    "$nin": lambda found, wanted: not any(_equal(found, one) for one in wanted),
    "$exists": lambda found, wanted: is_there(found) is wanted,
    **_ORDER,
}
