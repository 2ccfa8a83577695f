"""The area under the precision-recall curve, as average precision.

The relationship between Precision-Recall and ROC curves, Davis and Goadrich, 2006,
doi:10.1145/1143844.1143874: why the curve is summed in steps, and not interpolated.
"""

from __future__ import annotations

import math

import torch

from querist.context import MetrologyContext
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.metrology.inputs import class_probabilities
from querist.strategies.metrology.one_vs_rest import counts_by_score, one_vs_rest
from querist.strategies.options import whole_number
from querist.values import MetrologyRecord


@register("metrology", "auc_pr")
class AucPr:
    """The area under the precision-recall curve: `auc_pr` in 0 .. 1, average precision.

    For more than two classes the mean over one class against the others, without classes of which
    the test set has no sample. NaN when there is no positive test sample.

    Args:
        positive: the positive class of two, 0 or 1; no effect for more classes.
    """

    measures = ("auc_pr",)

    def __init__(self, positive: int = 1) -> None:
        self.positive = whole_number("positive", positive, least=0)
        if self.positive > 1:
            raise ConfigurationError(
                f"positive is one of two classes, 0 or 1, not {positive}: leave it out for more "
                "classes"
            )

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `auc_pr`."""
        targets, probabilities = class_probabilities(context, "auc_pr")
        found = one_vs_rest(targets, probabilities, average_precision, positive=self.positive)
        return MetrologyRecord({"auc_pr": found})


def average_precision(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """The mean precision at the rank of each positive sample; samples of one score rank alike."""
    return precision_of_counts(*counts_by_score(scores, positive))


def precision_of_counts(hits: torch.Tensor, others: torch.Tensor) -> float:
    """The same from how many positive and negative samples have each score, the lowest first."""
    hits, others = hits.flip(0), others.flip(0)
    total = float(hits.sum())
    if total == 0:
        return math.nan
    found = hits.cumsum(0)
    # A score that no sample has, above all others, counts for nothing.
    return float((hits * found / (found + others.cumsum(0)).clamp(min=1)).sum()) / total
