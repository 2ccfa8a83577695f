"""How sure a gain is: the paired bootstrap.

An Introduction to the Bootstrap, Efron and Tibshirani, 1993, chapter 13. Both models are measured
on the same draws of samples, so that samples which are hard for both do not blur the difference.
"""

from __future__ import annotations

import torch

from querist.directions import Direction
from querist.randomness import SETUP, generator
from querist.strategies.gates.score import Score

LEVEL = 0.95
"""Of the interval that is shown."""
FEWEST = 100
"""Draws at least, however large the test set is."""

_MEANS, _MEASUREMENTS = 2 * 10**8, 2 * 10**7
"""Samples that are drawn at most in all. By count and not by clock: the same verdict anywhere."""
_AT_ONCE = 2 * 10**6


def gains(
    champion: Score,
    challenger: Score,
    rows: torch.Tensor,
    *,
    direction: Direction,
    resamples: int,
    test_digest: str,
    purpose: str,
) -> torch.Tensor:
    """How much better the challenger is, once for each draw `(b,)` float64.

    The draws depend on the test set and the purpose only: champion and challenger changed places,
    each gain is the negative of what it was.

    Args:
        champion: its metric.
        challenger: its metric.
        rows: the samples that are drawn from, as positions `(k,)`.
        direction: which way the metric is better.
        resamples: draws; fewer where they would take minutes.
        test_digest: of the test set.
        purpose: the metric, and the slice; another one draws other samples.
    """
    source = generator(0, SETUP, "gate", f"{test_digest} {purpose}")
    sign = 1.0 if direction is Direction.MAX else -1.0
    size = len(rows)
    if champion.each is None or challenger.each is None:
        found = torch.empty(_draws(resamples, size, _MEASUREMENTS), dtype=torch.float64)
        for draw in range(len(found)):
            drawn = rows[torch.randint(size, (size,), generator=source)]
            found[draw] = sign * (challenger.of(drawn) - champion.of(drawn))
        return found
    apart = sign * (challenger.each[rows].double() - champion.each[rows].double())
    draws, at_once = _draws(resamples, size, _MEANS), max(1, _AT_ONCE // size)
    parts = [
        apart[torch.randint(size, (min(at_once, draws - done), size), generator=source)].mean(1)
        for done in range(0, draws, at_once)
    ]
    return torch.cat(parts)


def _draws(resamples: int, size: int, most: int) -> int:
    return min(resamples, max(FEWEST, most // size))


def interval(gains: torch.Tensor, level: float = LEVEL) -> tuple[float, float] | None:
    """Where `level` of the gains are; None when more than half of the draws gave no number.

    A draw gives none where it has no sample of a class that the metric needs, say.
    """
    finite = gains[torch.isfinite(gains)]
    if 2 * len(finite) <= len(gains):
        return None
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=finite.dtype)
    low, high = torch.quantile(finite, edges).tolist()
    return low, high


def probability(gains: torch.Tensor, above: float) -> float:
    """The share of draws with a gain above `above`; one that gave no number has none."""
    return int((gains > above).sum()) / len(gains)
