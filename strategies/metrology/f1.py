"""Precision, recall and F1 as scikit-learn defines them, from counts.

Information Retrieval, van Rijsbergen, 1979, chapter 7.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.errors import ConfigurationError, StrategyError
from querist.registry import register
from querist.strategies.metrology.inputs import class_predictions
from querist.strategies.options import one_of, whole_number
from querist.values import MetrologyRecord

AVERAGES = ("auto", "binary", "macro", "micro")


@register("metrology", "f1")
class F1:
    """Precision, recall and their harmonic mean: `precision`, `recall`, `f1` in 0 .. 1.

    A ratio whose denominator is 0 is 0.

    Args:
        average: `binary` (of the positive class), `macro` (mean over the classes that occur among
            targets or predictions), `micro` (over all samples together), or `auto`: binary for two
            classes, macro for more.
        positive: the positive class of `binary`, 0 or 1. Default: 1.

    Raises:
        ConfigurationError: an unknown average, or a positive class that has no effect.
    """

    measures = ("precision", "recall", "f1")

    def __init__(self, average: str = "auto", positive: int | None = None) -> None:
        self.average = one_of("average", average, AVERAGES)
        if positive is not None and average in ("macro", "micro"):
            raise ConfigurationError(
                f"positive has no effect when average is {average!r}: remove one of them"
            )
        self.positive = 1 if positive is None else whole_number("positive", positive, least=0)
        if self.positive > 1:
            raise ConfigurationError(
                f"positive is one of two classes, 0 or 1, not {positive}: use average macro or "
                "micro for more classes"
            )

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """Three values: `precision`, `recall`, `f1`.

        Raises:
            StrategyError: not a classification, or `binary` with other than two classes.
        """
        targets, predictions = class_predictions(context, "f1")
        classes = context.classes or 0
        average = self.average
        if average == "auto":
            average = "binary" if classes == 2 else "macro"
        if average == "binary" and classes != 2:
            raise StrategyError(
                f"f1 with average 'binary' is for two classes, not {classes}: "
                "use average macro or micro"
            )
        hits = torch.bincount(targets[targets == predictions], minlength=classes).double()
        predicted = torch.bincount(predictions, minlength=classes).double()
        actual = torch.bincount(targets, minlength=classes).double()
        if average == "binary":
            kept = torch.tensor([self.positive])
        elif average == "macro":
            kept = (predicted + actual).nonzero()[:, 0]
        else:
            kept = torch.zeros(1, dtype=torch.int64)
            hits, predicted, actual = (x.sum(0, keepdim=True) for x in (hits, predicted, actual))
        hits, predicted, actual = hits[kept], predicted[kept], actual[kept]
        return MetrologyRecord(
            {
                "precision": _mean_ratio(hits, predicted),
                "recall": _mean_ratio(hits, actual),
                "f1": _mean_ratio(2 * hits, predicted + actual),
            }
        )


def _mean_ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> float:
    """The mean of ratios per class, where x / 0 is 0."""
    return float((numerator / denominator.clamp(min=1)).mean())
