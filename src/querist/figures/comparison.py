"""Variants side by side, each over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from querist.errors import DataError, UnknownNameError
from querist.figures.canvas import new_figure, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Labels, ascending, and the metric at each."""


def comparison(
    curves: Mapping[str, Sequence[Curve]],
    path: Path,
    metric: str,
    *,
    baseline: str | None = None,
    spread: Literal["range", "deviation", "none"] = "range",
    title: str | None = None,
) -> None:
    """Draw the mean curve of each variant with its spread, and write it to `path` as PNG.

    Seeds that were measured at different numbers of labels are interpolated, inside the labels
    that all seeds of the variant have. A variant whose curves have one point each, such as the
    model with all labels, is a horizontal line.

    NaN is left out.

    Args:
        curves: for each variant one curve a seed.
        path: the PNG.
        metric: what the values are.
        baseline: the variant drawn first, in black and dashed.
        spread: the band: from lowest to highest seed, or one standard deviation to each side;
            `none` where a variant is one run, and its curve speaks of no seeds.
        title: above the figure; default: the metric's name.

    Raises:
        DataError: there is no curve, or one that is empty, ragged or not ascending.
        UnknownNameError: the baseline is none of the variants.
    """
    if not curves:
        raise DataError("a comparison needs at least one variant: there is none")
    if baseline is not None and baseline not in curves:
        raise UnknownNameError("variant", baseline, curves)
    figure, axes = new_figure(width=7.6, height=4.8)
    order = sorted(curves, key=lambda name: name != baseline)
    others = 0
    for name in order:
        checked = [_checked(name, curve) for curve in curves[name]]
        if not checked:
            raise DataError(f"variant {name!r} has no curve: leave it out")
        if name == baseline:
            look = {"color": "#000000", "linestyle": "--", "marker": ""}
        else:
            color, marker, line = style(others)
            look = {"color": color, "linestyle": line, "marker": marker}
            others += 1
        _draw(axes, name, checked, look, spread)
    axes.set_xlabel("labels spent (samples)")
    axes.set_ylabel(metric)
    axes.set_title(title or metric)
    axes.legend(frameon=False, fontsize=8.5, title=_explain(spread), title_fontsize=8.5)
    save(figure, path)


def _draw(
    axes: Axes,
    name: str,
    curves: Sequence[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    look: Mapping[str, Any],
    spread: str,
) -> None:
    seeds = f"{len(curves)} seeds" if len(curves) > 1 else "1 seed"
    label = name if spread == "none" else f"{name} ({seeds})"
    labels, values = _on_one_grid(name, curves)
    mean, low, high = _summary(values, spread)
    color = look["color"]
    if all(len(at) == 1 for at, _ in curves):
        axes.axhline(mean[0], color=color, linestyle=":", label=label)
        if len(curves) > 1:
            axes.axhspan(low[0], high[0], color=color, alpha=0.12, linewidth=0)
        return
    every = max(1, len(labels) // 12)
    axes.plot(labels, mean, markersize=4.5, markevery=every, label=label, **look)
    if len(curves) > 1:
        axes.fill_between(labels, low, high, color=color, alpha=0.15, linewidth=0)


def _checked(name: str, curve: Curve) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    labels, values = (np.asarray(side, dtype=np.float64) for side in curve)
    if labels.ndim != 1 or labels.shape != values.shape or not len(labels):
        raise DataError(
            f"a curve has one value for each number of labels, {name!r} has {values.shape} values "
            f"for {labels.shape} labels"
        )
    if (np.diff(labels) < 0).any():
        raise DataError(f"the labels of a curve ascend, those of {name!r} do not: sort them")
    finite = np.isfinite(values)
    if not finite.any():
        raise DataError(f"a curve of {name!r} has no finite value: leave it out")
    return labels[finite], values[finite]


def _on_one_grid(
    name: str, curves: Sequence[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The labels `(m,)` that all curves cover, and each curve's values there `(seeds, m)`."""
    if all(len(labels) == 1 for labels, _ in curves):
        return curves[0][0], np.stack([values for _, values in curves])
    first = max(labels[0] for labels, _ in curves)
    last = min(labels[-1] for labels, _ in curves)
    grid = np.unique(np.concatenate([labels for labels, _ in curves]))
    grid = grid[(grid >= first) & (grid <= last)]
    if not len(grid):
        raise DataError(
            f"the seeds of {name!r} have no number of labels in common: nothing to draw"
        )
    return grid, np.stack([np.interp(grid, labels, values) for labels, values in curves])


def _summary(
    values: np.ndarray[Any, Any], spread: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean, lower and upper edge of the band over the seeds."""
    mean = values.mean(axis=0)
    if spread == "range":
        return mean, values.min(axis=0), values.max(axis=0)
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    return mean, mean - deviation, mean + deviation


def _explain(spread: str) -> str | None:
    if spread == "none":
        return None
    band = "lowest to highest seed" if spread == "range" else "± 1 standard deviation"
    return f"line: mean of the seeds, band: {band}"
