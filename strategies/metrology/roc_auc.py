"""The area under the ROC curve.

The meaning and use of the area under a receiver operating characteristic (ROC) curve, Hanley and
McNeil, 1982, doi:10.1148/radiology.143.1.7063747.
"""

from __future__ import annotations

import math

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_probabilities
from querist.strategies.metrology.one_vs_rest import counts_by_score, one_vs_rest
from querist.values import MetrologyRecord


@register("metrology", "roc_auc")
class RocAuc:
    """The area under the ROC curve: `roc_auc` in 0 .. 1, 0.5 for guessing.

    For more than two classes the mean over one class against the others, without classes of which
    the test set has no sample. NaN when all test samples are of one class.
    """

    measures = ("roc_auc",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `roc_auc`."""
        targets, probabilities = class_probabilities(context, "roc_auc")
        return MetrologyRecord({"roc_auc": one_vs_rest(targets, probabilities, area)})


def area(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """How often a positive sample has the higher score than a negative one; a tie counts half."""
    return area_of_counts(*counts_by_score(scores, positive))


def area_of_counts(hits: torch.Tensor, others: torch.Tensor) -> float:
    """The same from how many positive and negative samples have each score, the lowest first."""
    pairs = float(hits.sum() * others.sum())
    if pairs == 0:
        return math.nan
    below = others.cumsum(0) - others
    return float((hits * (below + others / 2)).sum()) / pairs
