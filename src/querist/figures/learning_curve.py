"""How good the learner became with the labels it was given."""

from __future__ import annotations

import math
from pathlib import Path

from querist.errors import UnknownNameError
from querist.figures.canvas import COLORS, GREY, new_figure, save
from querist.values import History


def learning_curve(records: History, metric: str, path: Path, title: str) -> None:
    """Draw a metric against the labels spent, and write it to `path` as PNG.

    Iterations without metrology, and NaN, are left out.

    Raises:
        UnknownNameError: no iteration has the metric.
    """
    if not any(metric in record.metrics for record in records):
        known = {name for record in records for name in record.metrics}
        raise UnknownNameError("metric", metric, known)
    points = [
        (record.labels, record.metrics[metric])
        for record in records
        if math.isfinite(record.metrics.get(metric, math.nan))
    ]
    figure, axes = new_figure()
    axes.set_xlabel("labels spent (samples)")
    axes.set_ylabel(metric)
    axes.set_title(title)
    if points:
        labels, values = zip(*points, strict=True)
        every = max(1, len(points) // 20)
        last = f"last: {values[-1]:.3g} at {labels[-1]:g} labels"
        axes.plot(
            labels, values, color=COLORS[0], marker="o", markersize=4, markevery=every, label=last
        )
        axes.legend(frameon=False)
    else:
        message = f"{metric} was never a finite number"
        axes.text(0.5, 0.5, message, ha="center", color=GREY, transform=axes.transAxes)
    save(figure, path)
