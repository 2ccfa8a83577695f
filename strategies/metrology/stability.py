"""How much a model's predictions differ from those of the one before; no labels are needed.

kappa: A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
User-Adjustable Stopping, Bloodgood and Vijay-Shanker, 2009, arXiv:1409.5165.
classification_change, overall_uncertainty: Confidence-based stopping criteria for active learning
for data annotation, Zhu, Wang, Hovy and Ma, 2010, doi:10.1145/1753783.1753784.
delta_f: Stopping Active Learning based on Predicted Change of F Measure for Text Classification,
Altschuler and Bloodgood, 2019, arXiv:1901.09118.
"""

from __future__ import annotations

import math

import torch

from querist.context import MetrologyContext
from querist.errors import ConfigurationError, StrategyError
from querist.registry import register
from querist.strategies.options import whole_number
from querist.values import MetrologyRecord, Task


@register("metrology", "stability")
class Stability:
    """What changed on the stop set: `kappa`, `classification_change`, `delta_f`; and what is sure.

    The stop set is drawn once per run from the samples that are not held back, labeled or not.
    `kappa` is Cohen's kappa between the classes that this model and the one before predict, at most
    1; `classification_change` the share whose class changed, 0 .. 1; `delta_f` the predicted change
    of F1, 0 .. 1; `overall_uncertainty` the mean entropy as a share of the highest, 0 .. 1.
    Classification only.

    Args:
        size: samples in the stop set, or all that there are.
        positive: the class whose F1 `delta_f` is about, of two; 0 or 1. For more classes it is the
            mean over those that are predicted.
    """

    measures = ("overall_uncertainty", "kappa", "classification_change", "delta_f")
    needs_test_set = False

    def __init__(self, size: int = 1000, positive: int = 1) -> None:
        self.stop_set_size = whole_number("size", size, least=1)
        self.positive = whole_number("positive", positive, least=0)
        if self.positive > 1:
            raise ConfigurationError(
                f"positive is one of two classes, 0 or 1, not {positive}: leave it out for more "
                "classes"
            )

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """Four values. The first iteration has no model before it: all but the uncertainty are NaN.

        NaN, too, are `kappa` where both models predict one and the same class only, `delta_f` where
        neither predicts the positive class, and what probabilities that are not finite are used
        for.

        Raises:
            StrategyError: not a classification, or there is no stop set.
        """
        probabilities, before = self._stop_set(context)
        kappa = change = delta_f = math.nan
        if before is not None and bool(torch.isfinite(torch.stack([probabilities, before])).all()):
            counts = _contingency(probabilities.argmax(1), before.argmax(1), before.shape[1])
            kappa = _kappa(counts)
            change = float((counts.sum() - counts.diagonal().sum()) / counts.sum())
            delta_f = self._delta_f(counts)
        return MetrologyRecord(
            {
                "overall_uncertainty": _uncertainty(probabilities),
                "kappa": kappa,
                "classification_change": change,
                "delta_f": delta_f,
            }
        )

    def _stop_set(self, context: MetrologyContext) -> tuple[torch.Tensor, torch.Tensor | None]:
        if context.task != Task.CLASSIFICATION:
            raise StrategyError(
                f"stability measures classification, and this learner's task is {context.task}: "
                "remove it, and stop by plateau of mse, say"
            )
        if context.stop_set is None or not len(context.stop_set.probabilities):
            raise StrategyError(
                "stability needs at least one sample in the stop set, and there is none: use a "
                "pool with samples that are not held back"
            )
        rows = slice(self.stop_set_size)
        before = context.stop_set.before
        return context.stop_set.probabilities[rows], None if before is None else before[rows]

    def _delta_f(self, counts: torch.Tensor) -> float:
        """1 - F1 of the one model's predictions against the other's."""
        both = counts.diagonal()
        either = counts.sum(0) + counts.sum(1)
        kept = torch.tensor([self.positive]) if len(counts) == 2 else torch.arange(len(counts))
        kept = kept[either[kept] > 0]
        apart = (either - 2 * both)[kept] / either[kept]
        return float(apart.mean()) if len(kept) else math.nan


def _contingency(now: torch.Tensor, before: torch.Tensor, classes: int) -> torch.Tensor:
    """How often the one model predicts class i and the other j, `(c, c)`."""
    return torch.bincount(now * classes + before, minlength=classes**2).view(classes, -1).double()


def _kappa(counts: torch.Tensor) -> float:
    """Cohen's kappa: agreement beyond what chance gives; NaN where chance alone agrees always."""
    total = counts.sum()
    by_chance = float((counts.sum(0) * counts.sum(1)).sum() / total**2)
    if by_chance == 1:
        return math.nan
    agreed = float(counts.diagonal().sum() / total)
    return (agreed - by_chance) / (1 - by_chance)


def _uncertainty(probabilities: torch.Tensor) -> float:
    """The mean entropy, as a share of that of equal probabilities."""
    classes = probabilities.shape[1]
    if classes == 1:
        return 0.0
    wide = probabilities.double()
    return float(torch.special.entr(wide).sum(1).mean()) / math.log(classes)
