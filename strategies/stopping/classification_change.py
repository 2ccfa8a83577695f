"""Stop when no prediction changes any more.

Confidence-based stopping criteria for active learning for data annotation, Zhu, Wang, Hovy and Ma,
2010, doi:10.1145/1753783.1753784.
"""

from __future__ import annotations

from querist.registry import register
from querist.strategies.options import share, whole_number
from querist.strategies.stopping.window import all_at_most
from querist.values import History, StopDecision


@register("stop", "classification_change")
class ClassificationChange:
    """Stops once the classes that successive models predict on the stop set no longer change.

    Needs the metrology strategy `stability`. With the default threshold not one may change, as in
    the paper.

    Args:
        threshold: the largest share of the stop set whose class may change, 0 .. 1.
        window: iterations in a row in which that holds, at least 1.
    """

    needs = ("classification_change",)

    def __init__(self, threshold: float = 0.0, window: int = 1) -> None:
        self.threshold = share("threshold", threshold)
        self.window = whole_number("window", window, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop when each of the last `window` values is at most the threshold; NaN never is.

        Raises:
            StrategyError: classification_change was not measured.
        """
        return all_at_most(
            history, "classification_change", threshold=self.threshold, window=self.window
        )
