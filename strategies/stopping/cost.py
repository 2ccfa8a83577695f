"""Stop when the money is spent."""

from __future__ import annotations

import math

from querist.directions import as_written
from querist.registry import register
from querist.strategies.options import finite_number
from querist.values import History, StopDecision


@register("stop", "cost")
class Cost:
    """Stops once the labels that were bought have cost a budget.

    What labels cost is known when they come: the last iteration may go beyond the budget. To never
    buy a label too many, use `label_budget`, which counts labels.

    Args:
        budget: what may be spent, in the unit of the labels' cost, at least 0.
    """

    def __init__(self, budget: float) -> None:
        self.budget = finite_number("budget", budget, least=0.0)

    def check(self, history: History) -> StopDecision:
        """Stop once the cost so far is at least the budget; NaN never is."""
        if not history:
            return StopDecision(False, "no iteration yet")
        spent, bought = history[-1].label_cost, history[-1].labels_bought
        words = f"of {self.budget:g} spent on {bought} labels"
        if math.isnan(spent):
            return StopDecision(False, f"NaN {words}")
        return StopDecision(as_written(spent) >= as_written(self.budget), f"{spent:.6g} {words}")
