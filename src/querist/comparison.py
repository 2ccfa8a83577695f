"""Learning curves side by side: means, spread, and labels saved at equal quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

Curve = Sequence[tuple[int, float]]
"""(labels, value) by iteration."""


@dataclass(frozen=True)
class VariantResult:
    """One variant over all seeds.

    Attributes:
        name: the variant.
        curves: one learning curve per seed.
        last, last_spread: mean and standard deviation over the seeds of the last value.
        average, average_spread: the same of the mean over all iterations.
    """

    name: str
    curves: tuple[Curve, ...]
    last: float
    last_spread: float
    average: float
    average_spread: float


@dataclass(frozen=True)
class Saving:
    """How many labels a variant and the baseline need for the same value of the metric.

    Attributes:
        level: the value that both mean curves reach.
        needed: labels that the variant needs.
        baseline_needed: labels that the baseline needs.
    """

    variant: str
    level: float
    needed: int
    baseline_needed: int

    @property
    def saved(self) -> int:
        """Labels that the variant saves; negative when it needs more."""
        return self.baseline_needed - self.needed


def summarize_variant(name: str, curves: Sequence[Curve]) -> VariantResult:
    """Means and spread of a variant's curves."""
    last = [curve[-1][1] for curve in curves]
    average = [mean(value for _, value in curve) for curve in curves]
    return VariantResult(
        name=name,
        curves=tuple(tuple(curve) for curve in curves),
        last=mean(last),
        last_spread=_spread(last),
        average=mean(average),
        average_spread=_spread(average),
    )


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def mean_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """The mean over the curves at every number of labels that all of them have."""
    by_labels: dict[int, list[float]] = {}
    for curve in curves:
        for labels, value in curve:
            by_labels.setdefault(labels, []).append(value)
    return {n: mean(v) for n, v in sorted(by_labels.items()) if len(v) == len(curves)}


def labels_to_reach(curve: Mapping[int, float], level: float, *, higher: bool) -> int | None:
    """The fewest labels from which on a curve has been at `level`; None when it never is."""
    for labels, value in curve.items():
        if value >= level if higher else value <= level:
            return labels
    return None


def savings(
    variant: VariantResult, baseline: VariantResult, *, higher: bool, levels: int = 4
) -> list[Saving]:
    """Labels saved at several values of the metric that both mean curves reach.

    The levels are even steps over the better half of what both reach, ending at the best value
    that both reach.
    """
    ours, theirs = mean_curve(variant.curves), mean_curve(baseline.curves)
    if len(ours) < 2 or len(theirs) < 2:
        return []
    pick, other = (max, min) if higher else (min, max)
    best = other(pick(ours.values()), pick(theirs.values()))
    start = pick(next(iter(ours.values())), next(iter(theirs.values())))
    found = []
    for step in range(1, levels + 1):
        level = start + (best - start) * (0.5 + 0.5 * step / levels)
        needed = labels_to_reach(ours, level, higher=higher)
        baseline_needed = labels_to_reach(theirs, level, higher=higher)
        if needed is not None and baseline_needed is not None:
            found.append(Saving(variant.name, level, needed, baseline_needed))
    return found
