"""Stop when the labels are spent."""

from __future__ import annotations

from querist.registry import register
from querist.strategies.options import whole_number
from querist.values import History, StopDecision


@register("stop", "label_budget")
class LabelBudget:
    """Stops once the model has been trained on a number of labels, the initial ones included.

    The query phase asks it what is left, so that no label beyond the budget is bought.

    Args:
        labels: labels, at least 1.
    """

    def __init__(self, labels: int) -> None:
        self.labels = whole_number("labels", labels, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop once the newest iteration's model has seen the whole budget."""
        used = history[-1].labels if history else 0
        return StopDecision(used >= self.labels, f"{used} of {self.labels} labels")

    def remaining(self, labels: int) -> int:
        """How many more labels may be asked for when there are `labels`."""
        return max(0, self.labels - labels)
