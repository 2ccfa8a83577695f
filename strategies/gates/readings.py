"""What one model's number for a check is, and why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from querist.config.compare import LATENCY, CheckConfig
from querist.directions import Direction
from querist.errors import StrategyError
from querist.strategies.gates.score import Score
from querist.strategies.gates.scores import SAME, samples, score
from querist.values import Evaluation


@dataclass(frozen=True)
class Reading:
    """One model's side of a check.

    Attributes:
        measured: the number that metrology, or training, has recorded; None without one.
        computed: the number on the whole test set, computed from outcomes; None where it cannot be.
        score: the same on any samples.
        fault: why it cannot be.
        size: samples of the test set; 0 where it is not known.
    """

    measured: float | None
    computed: float | None
    score: Score | None
    fault: str
    size: int


def read(check: CheckConfig, evaluation: Evaluation) -> Reading:
    """A model's side of a check."""
    outcomes = evaluation.outcomes
    size = 0 if outcomes is None else samples(outcomes)
    if check.curve is not None:
        value, fault = _of_curve(check, evaluation)
        return Reading(value, None, None, fault, size)
    measured = evaluation.metrics.get(check.metric)
    if check.metric == LATENCY and measured is None and outcomes is not None:
        measured = outcomes.seconds
    if outcomes is None and measured is None and check.specific_label is None:
        measured = evaluation.metrics.get(SAME.get(check.metric, check.metric))
    if measured is not None:
        measured = float(measured)
    if outcomes is None:
        return Reading(measured, None, None, "it was not measured", size)
    try:
        found = score(check, outcomes)
        return Reading(measured, found.of(torch.arange(size)), found, "", size)
    except StrategyError as error:
        return Reading(measured, None, None, str(error), size)


def _of_curve(check: CheckConfig, evaluation: Evaluation) -> tuple[float | None, str]:
    """The value of a training curve at an epoch, or its best one."""
    curve = evaluation.curves.get(check.curve or "")
    if not curve:
        known = ", ".join(evaluation.curves) or "none"
        return None, f"there is no such training curve, known are: {known}"
    if check.x_index is None:
        if not all(map(math.isfinite, curve)):
            return math.nan, ""
        return float(max(curve) if check.better is Direction.MAX else min(curve)), ""
    if not -len(curve) <= check.x_index < len(curve):
        return None, f"x_index {check.x_index} is none of its {len(curve)} epochs"
    return float(curve[check.x_index]), ""
