"""How far a classifier's confidence is from how often it is right.

On Calibration of Modern Neural Networks, Guo, Pleiss, Sun and Weinberger, 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import math

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import class_probabilities
from querist.strategies.options import whole_number
from querist.values import MetrologyRecord


@register("metrology", "calibration_error")
class CalibrationError:
    """The expected calibration error: `calibration_error` in 0 .. 1, 0 is best.

    Samples are put into bins of equal width by the highest probability; in each, the mean of these
    is compared with the share that is predicted right, and bins count by their samples.

    Args:
        bins: how many; 15 as in the paper.
    """

    measures = ("calibration_error",)

    def __init__(self, bins: int = 15) -> None:
        self.bins = whole_number("bins", bins, least=1)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `calibration_error`; NaN when a probability is not finite."""
        targets, probabilities = class_probabilities(context, "calibration_error")
        if not bool(torch.isfinite(probabilities).all()):
            return MetrologyRecord({"calibration_error": math.nan})
        confidence, predicted = probabilities.double().max(1)
        # Each bin holds its upper edge, as in the paper.
        bins = (confidence * self.bins).ceil().long().clamp(1, self.bins) - 1
        apart = (predicted == targets).double() - confidence
        of_bin = torch.zeros(self.bins, dtype=torch.float64).index_add(0, bins, apart)
        return MetrologyRecord({"calibration_error": float(of_bin.abs().sum()) / len(targets)})
