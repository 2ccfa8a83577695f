"""Stop when the learner is sure of what it has not learned from.

Confidence-based stopping criteria for active learning for data annotation, Zhu, Wang, Hovy and Ma,
2010, doi:10.1145/1753783.1753784.
"""

from __future__ import annotations

from querist.registry import register
from querist.strategies.options import share, whole_number
from querist.strategies.stopping.window import all_at_most
from querist.values import History, StopDecision


@register("stop", "overall_uncertainty")
class OverallUncertainty:
    """Stops once the mean uncertainty over the stop set is small.

    Needs the metrology strategy `stability`, whose uncertainty is the entropy of a prediction as a
    share of the highest possible one.

    Args:
        threshold: the highest mean uncertainty, 0 .. 1.
        window: iterations in a row in which that holds, at least 1.
    """

    needs = ("overall_uncertainty",)

    def __init__(self, threshold: float = 0.05, window: int = 1) -> None:
        self.threshold = share("threshold", threshold)
        self.window = whole_number("window", window, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop when each of the last `window` values is at most the threshold; NaN never is.

        Raises:
            StrategyError: overall_uncertainty was not measured.
        """
        return all_at_most(
            history, "overall_uncertainty", threshold=self.threshold, window=self.window
        )
