"""A metric over the last iterations, for criteria that wait until it has settled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from querist.directions import as_written
from querist.strategies.stopping.metric import metric_if_there, metric_of
from querist.values import History, StopDecision


@dataclass(frozen=True)
class Window:
    """The newest values of a metric.

    Attributes:
        values: oldest first, as they are written.
        labels: of the newest iteration.
        flaw: why they cannot be judged, in words; empty when they can.
    """

    values: tuple[Decimal, ...] = ()
    labels: int = 0
    flaw: str = ""


def window_of(history: History, metric: str, size: int) -> Window:
    """The metric in the last `size` iterations that measured it.

    Too few of them, or one that is NaN or infinite, is a flaw: no criterion is met by it.

    Raises:
        StrategyError: the newest iteration did not measure the metric.
    """
    if not history:
        return Window(flaw="no iteration yet")
    metric_of(history[-1], metric)
    there = [(r.iteration, v) for r in history if (v := metric_if_there(r, metric)) is not None]
    there = there[-size:]
    for iteration, value in there:
        if not math.isfinite(value):
            called = "NaN" if math.isnan(value) else "infinite"
            return Window(flaw=f"{metric} is {called} in iteration {iteration}")
    if len(there) < size:
        return Window(flaw=f"{metric} is measured in {len(there)} of {size} iterations")
    return Window(tuple(as_written(value) for _, value in there), history[-1].labels)


def all_at_most(history: History, metric: str, *, threshold: float, window: int) -> StopDecision:
    """Stop when each of the last `window` values of the metric is at most `threshold`.

    Raises:
        StrategyError: the newest iteration did not measure the metric.
    """
    found = window_of(history, metric, window)
    if found.flaw:
        return StopDecision(False, found.flaw)
    highest = max(found.values)
    stop = highest <= as_written(threshold)
    of = f"{metric} {highest:.6g}" + ("" if window == 1 else f", the highest of {window},")
    return StopDecision(
        stop, f"{of} {'<=' if stop else '>'} {threshold:.6g} after {found.labels} labels"
    )
