"""Checks of components' options; each message is rule, value, what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from querist.errors import ConfigurationError, UnknownNameError
from querist.registry import import_object

LONGEST = 200
MOST_WHOLE = 10**12
MOST = 1e15
"""Larger numbers are mistakes, and sums of them would not be finite."""


def whole_number(option: str, value: Any, *, least: int) -> int:
    """`value` as an int of at least `least`, and at most `MOST_WHOLE`.

    Raises:
        ConfigurationError: it is something else (True and 3.0 are, too).
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{option} is a whole number of at least {least}, not {value!r:.80}: set it to one"
        )
    if value > MOST_WHOLE:
        raise ConfigurationError(
            f"{option} is a whole number of at most {MOST_WHOLE:,}, not a larger one: lower it"
        )
    return value


def finite_number(option: str, value: Any, *, least: float | None = None) -> float:
    """`value` as a finite float; where `least` is given from there to `MOST`.

    Raises:
        ConfigurationError: it is something else.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not _fits_a_float(value) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least:g}"
        raise ConfigurationError(
            f"{option} is a finite number{bound}, not {value!r:.80}: set it to one"
        )
    if least is not None and value > MOST:
        raise ConfigurationError(
            f"{option} is a number of at most {MOST:g}, not {value:g}: set it to one"
        )
    return float(value)


def above_zero(option: str, value: Any) -> float:
    """`value` as a float above 0.

    Raises:
        ConfigurationError: it is something else.
    """
    number = finite_number(option, value, least=0)
    if number == 0:
        raise ConfigurationError(f"{option} is a number above 0, not 0: set it to one")
    return number


def candidates_factor(option: str, value: Any) -> float:
    """How many times the wanted number is looked at, at least 1.

    Raises:
        ConfigurationError: it is less, or no finite number.
    """
    number = finite_number(option, value, least=0)
    if number < 1:
        raise ConfigurationError(
            f"{option} is a number of at least 1, not {number:g}: fewer candidates than are "
            "wanted are none to choose from"
        )
    return number


def share(option: str, value: Any) -> float:
    """`value` as a float from 0 to 1.

    Raises:
        ConfigurationError: it is something else.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not 0 <= value <= 1:
        raise ConfigurationError(
            f"{option} is a number from 0 to 1, not {value!r:.80}: set it to one"
        )
    return float(value)


def _fits_a_float(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of more than 308 digits
        return False


def text(option: str, value: Any) -> str:
    """`value` as a string that is not empty.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{option} is a name, not {value!r:.80}: write one")
    if len(value) > LONGEST:
        raise ConfigurationError(
            f"{option} is a name of at most {LONGEST} characters, not {len(value):,}: shorten it"
        )
    return value


def flag(option: str, value: Any) -> bool:
    """`value` as a bool.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{option} is true or false, not {value!r:.80}: set it to one of them"
        )
    return value


def one_of(option: str, value: Any, choices: Collection[str]) -> str:
    """`value` as one of `choices`.

    Raises:
        ConfigurationError: it is something else; the nearest choices are suggested.
    """
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{option} is one of {', '.join(choices)}, not {value!r:.80}: choose one of them"
        )
    if value not in choices:
        raise UnknownNameError(option, value[:LONGEST], choices)
    return value


def mapping(option: str, value: Any) -> Mapping[Any, Any]:
    """`value` as a mapping that is not empty.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, Mapping) or not value:
        raise ConfigurationError(
            f"{option} is a mapping with at least one entry, not {value!r:.80}: "
            "name what should change, or remove the component"
        )
    return value


def function_of(value: Any, gets: str) -> Callable[..., Any]:
    """The function that an option `function` names, or is.

    Args:
        value: an import path of an allowed package, or something callable.
        gets: what it is called with, for messages.

    Raises:
        ConfigurationError: it cannot be called, or its package is not allowed.
    """
    found = import_object(value) if isinstance(value, str) else value
    if not callable(found):
        raise ConfigurationError(
            f"function is something to call with {gets}, not {value!r:.80}: name a function as "
            "package.module:attribute"
        )
    return found  # type: ignore[no-any-return]
