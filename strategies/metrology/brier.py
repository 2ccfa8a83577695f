"""The squared distance of probabilities from the truth.

Verification of forecasts expressed in terms of probability, Brier, 1950,
doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_probabilities
from querist.values import MetrologyRecord


@register("metrology", "brier")
class Brier:
    """The mean squared distance of probabilities from the truth: `brier`, 0 is best.

    As in scikit-learn: of two classes that of the one class, 0 .. 1; of more the sum over all of
    them, 0 .. 2. A class that the test set does not have counts as well.
    """

    measures = ("brier",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `brier`; NaN when a probability is NaN."""
        return MetrologyRecord({"brier": float(self.of_each(context).mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """The squared distance of each sample `(m,)`."""
        targets, probabilities = class_probabilities(context, "brier")
        classes = probabilities.shape[1]
        truth = torch.nn.functional.one_hot(targets, classes).double()
        squared = (probabilities.double() - truth).square()
        return squared[:, 1] if classes == 2 else squared.sum(1)
