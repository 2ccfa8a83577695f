"""When each stop criterion would have ended a recorded curve, and what that would have cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from efficiency_arithmetic import Mean, mean_of
from efficiency_run import Curve

from querist.config.component import Component
from querist.protocols import StopCriterion
from querist.registry import build

CRITERIA: tuple[dict[str, Any], ...] = (
    {"name": "stabilizing_predictions"},
    {"name": "stabilizing_predictions", "options": {"threshold": 0.95}},
    {"name": "classification_change"},
    {"name": "classification_change", "options": {"threshold": 0.02, "window": 2}},
    {"name": "overall_uncertainty"},
    {"name": "overall_uncertainty", "options": {"threshold": 0.2}},
    {"name": "delta_f"},
    {"name": "delta_f", "options": {"threshold": 0.02}},
    {"name": "plateau", "options": {"metric": "accuracy", "patience": 3}},
    {"name": "plateau", "options": {"metric": "accuracy", "patience": 5, "min_delta": 0.002}},
    {"name": "expected_gain", "options": {"metric": "accuracy", "value_per_point": 5000}},
    {
        "name": "expected_gain",
        "options": {"metric": "accuracy", "value_per_point": 5000, "window": 6},
    },
)
"""What is replayed where nobody says otherwise: each rule as it is, and a second setting. A label
costs 1, so that with 5000 a label must be expected to gain 0.0002 of accuracy."""


@dataclass(frozen=True)
class Stop:
    """Where a criterion ends one curve.

    Attributes:
        labels: at which it stops; those of the end of the budget where it never does.
        stopped: whether it does.
        lost: accuracy at the end of the budget less the accuracy where it stopped.
        kept: share of the labels that a budget has beyond the first ones, and that are saved.
    """

    labels: int
    stopped: bool
    lost: float
    kept: float


@dataclass(frozen=True)
class Summary:
    """A criterion over the seeds.

    Attributes:
        labels: median at which it stops.
        stopped: share of seeds that it stops.
        lost: accuracy that is lost.
        worst: the most that is lost by a seed.
        kept: labels that are saved.
    """

    labels: float
    stopped: float
    lost: Mean
    worst: float
    kept: Mean


def named(component: Component) -> str:
    """A component in one line."""
    options = ", ".join(f"{key}={value}" for key, value in component.options.items())
    return component.name + (f" ({options})" if options else "")


def replay(component: Component, curve: Curve) -> Stop:
    """Hand the criterion one iteration after the other, as a run does."""
    criterion: StopCriterion = build("stop", component.name, dict(component.options))
    history = curve.history()
    spent = curve.labels[-1] - curve.labels[0]
    for done in range(1, len(history) + 1):
        if criterion.check(history[:done]).stop:
            at = history[done - 1]
            lost = curve.accuracies[-1] - curve.accuracies[done - 1]
            kept = (curve.labels[-1] - at.labels) / spent if spent else math.nan
            return Stop(at.labels, True, lost, kept)
    return Stop(curve.labels[-1], False, 0.0, 0.0)


def summarize(stops: Sequence[Stop]) -> Summary:
    """What a criterion did to the seeds of one strategy."""
    return Summary(
        labels=median(stop.labels for stop in stops),
        stopped=sum(stop.stopped for stop in stops) / len(stops),
        lost=mean_of([stop.lost for stop in stops]),
        worst=max(stop.lost for stop in stops),
        kept=mean_of([stop.kept for stop in stops]),
    )
