"""Stop when F1 is predicted not to change any more.

Stopping Active Learning based on Predicted Change of F Measure for Text Classification, Altschuler
and Bloodgood, 2019, arXiv:1901.09118.
"""

from __future__ import annotations

from querist.registry import register
from querist.strategies.options import share, whole_number
from querist.strategies.stopping.window import all_at_most
from querist.values import History, StopDecision


@register("stop", "delta_f")
class DeltaF:
    """Stops once the predicted change of F1 between successive models is small.

    Needs the metrology strategy `stability`, which predicts the change from the stop set, without
    a label.

    Args:
        threshold: the largest predicted change, 0 .. 1.
        window: iterations in a row in which that holds, at least 1.
    """

    needs = ("delta_f",)

    def __init__(self, threshold: float = 0.05, window: int = 3) -> None:
        self.threshold = share("threshold", threshold)
        self.window = whole_number("window", window, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop when each of the last `window` values is at most the threshold; NaN never is.

        Raises:
            StrategyError: delta_f was not measured.
        """
        return all_at_most(history, "delta_f", threshold=self.threshold, window=self.window)
