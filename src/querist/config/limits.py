"""How much a configuration may hold, checked before anything recursive or slow sees it.

A configuration may come from a web form or a stranger's file. These limits hold for all ways in:
YAML, overrides, Python and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from querist.errors import ConfigurationError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 20_000
MAX_TEXT = 100_000
MAX_KEY = 200
MAX_BITS = 256
MAX_COMPONENTS = 100
"""In one list: query strategies, metrology strategies, stop criteria, schedules."""
SHOWN = 80
"""Characters of a refused value that a message shows."""

_DEFAULTS = 10_000
"""Bytes that the settings nobody gave take at most when an experiment is written down."""


def check_limits(content: Any) -> None:
    """Refuse a configuration that is too large, too deep, or holds what no file can hold.

    What passes can be written as YAML and read back. Looks at mappings and lists; anything else
    that comes from Python is left to its field.

    Raises:
        ConfigurationError: the first limit that is broken.
    """
    values, size = 0, _DEFAULTS
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        values += 1
        size += 2 * depth + 40  # indentation, and a number at its longest
        if isinstance(value, Mapping):
            check_counts(values + len(value), depth + 1)
            for key, part in value.items():
                size += _check_key(key)
                waiting.append((part, depth + 1))
        elif isinstance(value, list | tuple):
            check_counts(values + len(value), depth + 1)
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str):
            size += _check_text(value, MAX_TEXT, "a text")
        elif isinstance(value, int):
            _check_whole(value)
        if size > MAX_BYTES:
            raise ConfigurationError(
                f"a configuration has at most {MAX_BYTES:,} bytes as YAML, this one would have "
                "more: make it smaller"
            )


def check_counts(values: int, depth: int) -> None:
    """Refuse more than `MAX_VALUES` values, or nesting deeper than `MAX_DEPTH`.

    Raises:
        ConfigurationError: there are more.
    """
    if depth > MAX_DEPTH:
        raise ConfigurationError(
            f"a configuration is at most {MAX_DEPTH} levels deep, this one is deeper: nest it less"
        )
    if values > MAX_VALUES:
        raise ConfigurationError(
            f"a configuration has at most {MAX_VALUES:,} values, this one has more: keep data in "
            "files"
        )


def _check_key(key: Any) -> int:
    if isinstance(key, str):
        return _check_text(key, MAX_KEY, "a key")
    if isinstance(key, int):
        _check_whole(key)
    elif key is not None and not isinstance(key, float):
        raise ConfigurationError(f"a key in a configuration is text, not {shown(key)}: rename it")
    return 0


def _check_text(text: str, most: int, what: str) -> int:
    """Refuse a text that is too long or cannot be written; returns its bytes as YAML at most."""
    if len(text) > most:
        raise ConfigurationError(
            f"{what} in a configuration has at most {most:,} characters, not {len(text):,} "
            f"({shown(text)}): shorten it"
        )
    if "\x00" in text:
        raise ConfigurationError(
            f"{what} in a configuration holds no NUL character, unlike {shown(text)}: remove it"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{what} in a configuration is UTF-8, unlike {shown(text)}: use other characters"
        ) from None
    # A quote is written twice, and what cannot be printed as \UXXXXXXXX.
    return len(text) * (2 if text.isascii() and text.isprintable() else 10)


def _check_whole(number: int) -> None:
    if number.bit_length() > MAX_BITS:
        raise ConfigurationError(
            f"a whole number in a configuration has at most {MAX_BITS} bits, not "
            f"{number.bit_length():,}: write a smaller one"
        )


def shown(value: Any) -> str:
    """The beginning of `value` as Python writes it: one line, however large or deep it is."""
    if isinstance(value, Mapping):
        return f"a mapping with {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, str):
        text = repr(value[: SHOWN + 1])
    elif value is None or isinstance(value, int | float):
        text = repr(value)
    else:
        return f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
