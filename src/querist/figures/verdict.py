"""How much better the challenger is, sub-comparison by sub-comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querist.errors import DataError
from querist.figures.canvas import COLORS, GREY, new_figure, save
from querist.values import Check, Verdict
from querist.verdicts import outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 60
"""Rows that are drawn."""
_LOOKS = {
    "won": (COLORS[2], "o", "won by the challenger"),
    "lost": (COLORS[1], "X", "not won"),
    "allowed": (GREY, "D", "slice, not too much worse"),
    "too much worse": (COLORS[3], "s", "slice, too much worse"),
}
"""Colour, marker and legend of each outcome."""
_LONGEST = 44


def verdict(judged: Verdict, path: Path, *, title: str = "Champion against challenger") -> None:
    """Draw the gain of each check with its interval, and write it to `path` as PNG.

    Right of the middle the challenger is better, whichever way the metric is. Each metric has a
    scale of its own; its slices share it. A check without a gain is a line of text.

    Raises:
        DataError: the verdict has no checks.
    """
    if not judged.checks:
        raise DataError("a verdict is drawn from its checks, and this one has none: leave it out")
    rows = judged.checks[:MOST_ROWS]
    figure, axes = new_figure(width=8.6, height=max(2.6, 1.7 + 0.36 * len(rows)))
    axes.grid(visible=False)
    axes.spines[["left"]].set_visible(False)
    axes.axvline(0, color="black", linewidth=0.8)
    scales, in_legend = _scales(rows), set[str]()
    for place, check in enumerate(rows):
        _draw(axes, place, check, scales[_metric(check)], in_legend)
    axes.set_yticks(range(len(rows)), [_cut(check.metric) for check in rows], parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-1.15, 1.15)
    axes.set_xticks([0], ["0"])
    left = f", {len(judged.checks) - len(rows)} more rows" if len(judged.checks) > len(rows) else ""
    axes.set_xlabel(
        f"worse  ←  gain of the challenger, 95 % interval  →  better\n"
        f"(each metric on its own scale{left})"
    )
    axes.set_title(f"{title}: {judged.action}", loc="left", parse_math=False)
    axes.text(
        1.02, -0.6, "champion → challenger  (gain)", va="bottom", fontsize=8.5, color=GREY,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    if in_legend:
        figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8.5)
    save(figure, path)


def _draw(axes: Axes, place: int, check: Check, scale: float, in_legend: set[str]) -> None:
    words = f"{_short(check.champion)} → {_short(check.challenger)}"
    if check.gain is None or not math.isfinite(check.gain):
        axes.text(0.03, place, _why_not(check), va="center", fontsize=8, color=GREY)
    else:
        color, marker, kind = _LOOKS[outcome(check)]
        if check.low is not None and check.high is not None:
            ends = [check.low / scale, check.high / scale]
            axes.plot(ends, [place, place], color=color, linewidth=2.2, solid_capstyle="butt")
        axes.plot(
            check.gain / scale, place, color=color, marker=marker, markersize=7,
            linestyle="", label="" if kind in in_legend else kind,
        )  # fmt: skip
        words = f"{words}  ({check.gain:+.3g})"
        axes.plot(
            [check.min_delta / scale] * 2, [place - 0.32, place + 0.32], color="black",
            linewidth=1.6, linestyle=":", label="" if in_legend else "needed gain",
        )  # fmt: skip
        in_legend.add(kind)
    axes.text(
        1.02, place, words, va="center", fontsize=8.5, transform=axes.get_yaxis_transform()
    )  # fmt: skip


def _metric(check: Check) -> str:
    """The metric without its slice."""
    return check.metric.partition(" (")[0]


def _scales(rows: Sequence[Check]) -> dict[str, float]:
    """The largest gain, end of an interval, or margin that there is of each metric."""
    scales: dict[str, float] = {}
    for check in rows:
        ends = (check.gain, check.low, check.high, check.min_delta)
        finite = [abs(end) for end in ends if end is not None and math.isfinite(end)]
        if check.gain is not None:
            scales[_metric(check)] = max(scales.get(_metric(check), 0.0), *finite)
    return {_metric(check): scales.get(_metric(check), 0.0) or 1.0 for check in rows}


def _why_not(check: Check) -> str:
    if check.won:
        return "the first: nothing to compare with"
    return "no number to judge by" if check.judged else "too few samples to judge"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
