"""What learning curves say: area, labels to reach an accuracy, wins, and confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev

TIE = 0.001
"""Areas that differ by no more are a tie: a tenth of a point of accuracy on the mean."""


def area(labels: Sequence[float], accuracies: Sequence[float]) -> float:
    """The mean accuracy over the labels: the area under the curve over its range (ALC).

    Raises:
        ValueError: fewer than two points, or labels that do not ascend.
    """
    if len(labels) != len(accuracies) or len(labels) < 2:
        raise ValueError(
            f"an area needs two points at least, not {len(labels)} labels and {len(accuracies)} "
            "accuracies: raise the budget"
        )
    steps = [b - a for a, b in pairwise(labels)]
    if min(steps) <= 0:
        raise ValueError(f"the labels of a curve ascend, unlike {list(labels)}")
    means = [(a + b) / 2 for a, b in pairwise(accuracies)]
    return math.fsum(s * m for s, m in zip(steps, means, strict=True)) / (labels[-1] - labels[0])


def labels_to_reach(
    labels: Sequence[float], accuracies: Sequence[float], accuracy: float
) -> float:
    """The fewest labels at which the accuracy was reached; infinite where it never was."""
    pairs = zip(labels, accuracies, strict=True)
    return next((float(n) for n, reached in pairs if reached >= accuracy), math.inf)


def middle(values: Sequence[float]) -> float:
    """The median; infinite where the upper of the two middle values is."""
    return median(values)


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % confidence interval (Student's t).

    Attributes:
        mean: over the seeds.
        half: half the width of the interval; NaN for a single seed.
    """

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if math.isnan(self.half) else f" ± {self.half:.3f}")


def mean_of(values: Sequence[float]) -> Mean:
    """The mean with its interval."""
    if len(values) < 2:
        return Mean(fmean(values), math.nan)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Mean(fmean(values), half)


@dataclass(frozen=True)
class Duel:
    """One strategy against another, seed by seed.

    Attributes:
        wins, ties, losses: seeds.
        gain: the mean difference of the areas.
    """

    wins: int
    ties: int
    losses: int
    gain: Mean

    def __str__(self) -> str:
        return f"{self.wins}/{self.ties}/{self.losses}"


def duel(areas: Sequence[float], others: Sequence[float], tie: float = TIE) -> Duel:
    """Areas of one strategy against another's, of the same seeds in the same order."""
    gains = [a - b for a, b in zip(areas, others, strict=True)]
    wins, losses = sum(g > tie for g in gains), sum(g < -tie for g in gains)
    return Duel(wins, len(gains) - wins - losses, losses, mean_of(gains))
