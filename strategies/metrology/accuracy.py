"""Accuracy."""

from __future__ import annotations

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_predictions
from querist.values import MetrologyRecord


@register("metrology", "accuracy")
class Accuracy:
    """The share of test samples that are predicted right: `accuracy` in 0 .. 1."""

    measures = ("accuracy",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `accuracy`."""
        targets, predictions = class_predictions(context, "accuracy")
        right = int((targets == predictions).sum())
        return MetrologyRecord({"accuracy": right / len(targets)})
