"""Options of a command as flags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from querist.errors import ConfigurationError

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", re.ASCII)


def as_flags(options: Mapping[str, Any]) -> list[str]:
    """`{n_labeled: 100, fast: true, seeds: [1, 2]}` as `--n_labeled 100 --fast --seeds 1 2`.

    What is false or null is left out. A text that starts with a dash is written `--key=text`, so
    that it is no flag of its own.

    Raises:
        ConfigurationError: a key that is no flag, or a value that is no number, text or list.
    """
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"options of a command is a mapping, not {options!r:.80}: write options: {{key: value}}"
        )
    flags: list[str] = []
    for key, value in options.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigurationError(
                f"an option of a command has up to 100 letters, digits, '_', '-' and '.' and "
                f"starts with a letter, unlike {key!r:.80}: rename it"
            )
        flags += _flag(key, value)
    return flags


def _flag(key: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{key}"]
    if isinstance(value, list | tuple):
        words = [_word(key, part) for part in value]
        dashed = [word for word, part in zip(words, value, strict=True) if _is_dashed(part)]
        if dashed:
            raise ConfigurationError(
                f"a text in the list {key!r} would be a flag of its own, {dashed[0]!r:.80}: remove "
                "the dash it starts with"
            )
        return [f"--{key}", *words] if words else []
    word = _word(key, value)
    return [f"--{key}={word}"] if _is_dashed(value) else [f"--{key}", word]


def _is_dashed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("-")


def _word(key: str, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value):
        return repr(value)
    if isinstance(value, str) and "\0" not in value:
        return value
    raise ConfigurationError(
        f"an option of a command is a finite number, a text, true, false, or a list of numbers and "
        f"texts, not {value!r:.80} for {key!r}: change it"
    )
