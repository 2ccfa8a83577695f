from __future__ import annotations

from typing import Any

import pytest

from querist.config.limits import MAX_DEPTH, MAX_KEY, MAX_TEXT, MAX_VALUES, check_limits, shown
from querist.errors import ConfigurationError


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("fits", "does_not", "words"),
    [
        (nested(MAX_DEPTH), nested(MAX_DEPTH + 1), "levels deep"),
        ([0] * (MAX_VALUES - 1), [0] * MAX_VALUES, "20,000 values"),
        ("a" * MAX_TEXT, "a" * (MAX_TEXT + 1), "100,000 characters"),
        ({"k" * MAX_KEY: 1}, {"k" * (MAX_KEY + 1): 1}, "a key .* 200 characters"),
        (2**256 - 1, 2**256, "256 bits"),
        (-(2**256) + 1, {1 << 256: 1}, "256 bits"),
        ({1: 1, None: 2, 1.5: 3}, {(1,): 1}, "a key in a configuration is text"),
        (["a" * 40_000] * 10, ["a" * 40_000] * 13, "1,000,000 bytes as YAML"),
        ("\u202e\x07", "a\x00", "no NUL"),
        ("\U0001f600", "\ud83d", "UTF-8"),
        (object(), [], "levels deep"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_limits(fits: Any, does_not: Any, words: str) -> None:
    if does_not == []:
        does_not.append(does_not)
    check_limits(fits)
    with pytest.raises(ConfigurationError, match=words) as error:
        check_limits(does_not)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (nested(10_000), "a list of 1"),
        ({"a": 1}, "a mapping with 1 keys"),
        (10**5000, "a whole number of 16,610 bits"),
        ("a\nb", r"'a\nb'"),
        ("a" * 100, "'" + "a" * 76 + "..."),
        (None, "None"),
        (0.5, "0.5"),
        (b"x", "a bytes"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shown(value: Any, words: str) -> None:
    assert shown(value) == words
