"""Scores of ranked samples, one class against the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

RankingScore = Callable[[torch.Tensor, torch.Tensor], float]
"""(scores `(m,)`, whether each sample is of the class `(m,)`) -> number; NaN when undefined."""


def one_vs_rest(
    targets: torch.Tensor, probabilities: torch.Tensor, score: RankingScore, *, positive: int = 1
) -> float:
    """The score of the positive class of two, or the mean over more classes.

    A class for which the score is undefined, because the test set has no sample of it, say, is left
    out of the mean. NaN when that leaves none, or when a probability is not finite.

    Args:
        targets: class indices `(m,)`.
        probabilities: `(m, c)`.
        score: of one class.
        positive: the positive class of two.
    """
    if not bool(torch.isfinite(probabilities).all()):
        return math.nan
    classes = probabilities.shape[1]
    counted = [positive] if classes == 2 else range(classes)
    return mean_of_defined([score(probabilities[:, c], targets == c) for c in counted])


def mean_of_defined(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN; NaN when there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def counts_by_score(
    scores: torch.Tensor, positive: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How many positive and negative samples have each score, the lowest score first, `(k,)`."""
    _, which = scores.unique(return_inverse=True)
    everything = torch.bincount(which).double()
    hits = torch.bincount(which[positive], minlength=len(everything)).double()
    return hits, everything - hits
