"""Accuracy that counts each class alike.

The Balanced Accuracy and Its Posterior Distribution, Brodersen et al., 2010,
doi:10.1109/ICPR.2010.764.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_predictions
from querist.values import MetrologyRecord


@register("metrology", "balanced_accuracy")
class BalancedAccuracy:
    """The mean recall over the classes that the test set has: `balanced_accuracy` in 0 .. 1."""

    measures = ("balanced_accuracy",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `balanced_accuracy`."""
        targets, predictions = class_predictions(context, "balanced_accuracy")
        actual = torch.bincount(targets).double()
        hits = torch.bincount(targets[targets == predictions], minlength=len(actual)).double()
        there = actual > 0
        return MetrologyRecord({"balanced_accuracy": float((hits[there] / actual[there]).mean())})
