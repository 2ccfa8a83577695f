"""Accuracy."""

from __future__ import annotations

import torch

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

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """1 for each sample that is predicted right, else 0, `(m,)`."""
        targets, predictions = class_predictions(context, "accuracy")
        return (targets == predictions).double()
