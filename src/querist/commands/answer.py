"""What a command says on the last line of its output: a number, or JSON."""

from __future__ import annotations

import json
import math
from typing import Any

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}


class NoAnswerError(ValueError):
    """The line is neither a number nor JSON; the message says why."""


def read_answer(line: str) -> Any:
    """The value that a line says; numbers may be written as Python and numpy print them.

    Raises:
        NoAnswerError: it is neither a number nor JSON.
    """
    text = line.strip()
    sign, bare = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if bare.lower() in _NOT_FINITE:
        return sign * _NOT_FINITE[bare.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return float(text)  # `.5`, `1.`, `+3`
    except ValueError:
        raise NoAnswerError(f"{text!r:.200} is neither a number nor JSON") from None


def as_number(answer: Any) -> float:
    """A number, which need not be finite.

    Raises:
        NoAnswerError: it is something else.
    """
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise NoAnswerError(f"{answer!r:.200} is no number")
    try:
        return float(answer)
    except OverflowError:
        raise NoAnswerError(f"{answer!r:.80} is larger than any number") from None


def all_finite(answer: Any) -> bool:
    """Whether no number in an answer is NaN or infinite."""
    waiting = [answer]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return True
