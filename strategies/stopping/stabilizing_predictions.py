"""Stop when successive models predict the same.

A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
User-Adjustable Stopping, Bloodgood and Vijay-Shanker, 2009, arXiv:1409.5165.
"""

from __future__ import annotations

from querist.directions import as_written
from querist.registry import register
from querist.strategies.options import share, whole_number
from querist.strategies.stopping.window import window_of
from querist.values import History, StopDecision


@register("stop", "stabilizing_predictions")
class StabilizingPredictions:
    """Stops once successive models agree on the stop set: Cohen's kappa, on average over a window.

    Needs the metrology strategy `stability`. The first iteration has no model before it, so the
    earliest stop is after `window` + 1 iterations.

    Args:
        threshold: the least mean kappa, 0 .. 1; lower stops earlier.
        window: comparisons of a model with the one before that the mean is over, at least 1.
    """

    needs = ("kappa",)

    def __init__(self, threshold: float = 0.99, window: int = 3) -> None:
        self.threshold = share("threshold", threshold)
        self.window = whole_number("window", window, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop when the mean kappa of the last `window` iterations is at least the threshold.

        Raises:
            StrategyError: kappa was not measured.
        """
        found = window_of(history, "kappa", self.window)
        if found.flaw:
            return StopDecision(False, found.flaw)
        total = sum(found.values)
        # As a sum: the mean of three times 0.99 is exactly 0.99.
        stop = total >= as_written(self.threshold) * self.window
        sign = ">=" if stop else "<"
        return StopDecision(
            stop,
            f"kappa {total / self.window:.6g}, the mean of {self.window}, {sign} "
            f"{self.threshold:.6g} after {found.labels} labels",
        )
