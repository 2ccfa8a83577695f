"""A verdict for people: rows of a table, and the table in Markdown."""

from __future__ import annotations

import math
import re
from typing import Any

from querist.values import Check, Verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$!])")


def verdict_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """One row a check: numbers, the gain's interval, and who won. All values are JSON.

    A number that is NaN or infinite is text, which JSON has no number for.
    """
    return [
        {
            "sub-comparison": check.metric,
            "champion": _number(check.champion),
            "challenger": _number(check.challenger),
            "gain": _number(check.gain),
            "needed gain": check.min_delta,
            "gain from": _number(check.low),
            "gain to": _number(check.high),
            "outcome": outcome(check),
            "reason": check.reason,
        }
        for check in verdict.checks
    ]


def verdict_markdown(verdict: Verdict, title: str = "Champion against challenger") -> str:
    """The verdict as Markdown: what is done and why, and a table of its checks."""
    lines = [
        f"### {_plain(title)}",
        "",
        f"**{verdict.action}**: {_plain(verdict.reason)}",
        "",
        "| sub-comparison | champion | challenger | gain | 95 % interval | needed gain | outcome "
        "| reason |",
        "| --- | ---: | ---: | ---: | :---: | ---: | --- | --- |",
    ]
    for check in verdict.checks:
        cells = (
            _plain(check.metric),
            _short(check.champion),
            _short(check.challenger),
            _short(check.gain),
            "" if check.low is None else f"{_short(check.low)} to {_short(check.high)}",
            f"> {check.min_delta:g}" if check.judged else "",
            outcome(check),
            _plain(check.reason),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def outcome(check: Check) -> str:
    """`won` or `lost`, by the challenger.

    Of what is no sub-comparison of its own: `allowed` or `too much worse` for a slice that a check
    looks after, else `shown`.
    """
    if check.judged:
        return "won" if check.won else "lost"
    if check.gain is None:
        return "shown"
    return "allowed" if check.won else "too much worse"


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
