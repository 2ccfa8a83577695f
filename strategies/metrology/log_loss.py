"""The mean negative logarithm of the probability of what is true.

Rational Decisions, Good, 1952, doi:10.1111/j.2517-6161.1952.tb00104.x.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_probabilities
from querist.values import MetrologyRecord


@register("metrology", "log_loss")
class LogLoss:
    """The mean negative log-probability of the true classes: `log_loss`, in nats, at least 0.

    A probability of 0 or 1 counts as one that differs from it by the precision of the learner's
    numbers, as in scikit-learn. A class that the test set does not have changes nothing.
    """

    measures = ("log_loss",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `log_loss`; NaN when a true class has the probability NaN."""
        return MetrologyRecord({"log_loss": float(self.of_each(context).mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """The negative log-probability of each sample's class `(m,)`."""
        targets, probabilities = class_probabilities(context, "log_loss")
        edge = torch.finfo(probabilities.dtype).eps
        of_truth = probabilities[torch.arange(len(targets)), targets].double()
        return -of_truth.clamp(edge, 1 - edge).log()
