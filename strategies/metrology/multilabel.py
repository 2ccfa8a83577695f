"""Metrics of several labels at once, as scikit-learn defines them.

Mining Multi-label Data, Tsoumakas, Katakis and Vlahavas, 2010, doi:10.1007/978-0-387-09823-4_34.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import label_predictions
from querist.values import MetrologyRecord


@register("metrology", "f1_micro")
class F1Micro:
    """F1 of all labels of all samples together: `f1_micro` in 0 .. 1; 0 without any label."""

    measures = ("f1_micro",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `f1_micro`."""
        hits, either = (counts.sum() for counts in _counts(context, "f1_micro"))
        return MetrologyRecord({"f1_micro": float(2 * hits / either.clamp(min=1))})


@register("metrology", "f1_macro")
class F1Macro:
    """The mean of the labels' F1: `f1_macro` in 0 .. 1; 0 for a label that nobody has."""

    measures = ("f1_macro",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `f1_macro`."""
        hits, either = _counts(context, "f1_macro")
        return MetrologyRecord({"f1_macro": float((2 * hits / either.clamp(min=1)).mean())})


@register("metrology", "subset_accuracy")
class SubsetAccuracy:
    """The share of test samples all of whose labels are right: `subset_accuracy` in 0 .. 1."""

    measures = ("subset_accuracy",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `subset_accuracy`."""
        return MetrologyRecord({"subset_accuracy": float(self.of_each(context).mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """1 for each sample all of whose labels are right, else 0, `(m,)`."""
        targets, predictions = label_predictions(context, "subset_accuracy")
        return (targets == predictions).all(1).double()


@register("metrology", "hamming_loss")
class HammingLoss:
    """The share of labels that are wrong, over all samples: `hamming_loss` in 0 .. 1."""

    measures = ("hamming_loss",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `hamming_loss`."""
        return MetrologyRecord({"hamming_loss": float(self.of_each(context).mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """The share of each sample's labels that are wrong, `(m,)`."""
        targets, predictions = label_predictions(context, "hamming_loss")
        return (targets != predictions).double().mean(1)


def _counts(context: MetrologyContext, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """By label `(c,)`: how often it is rightly found; how often it is found plus how often true."""
    targets, predictions = label_predictions(context, metric)
    hits = (targets & predictions).sum(0)
    return hits.double(), (targets.sum(0) + predictions.sum(0)).double()
