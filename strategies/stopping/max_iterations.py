"""Stop after a number of iterations."""

from __future__ import annotations

from querist.registry import register
from querist.strategies.options import whole_number
from querist.values import History, StopDecision


@register("stop", "max_iterations")
class MaxIterations:
    """Stops after n iterations.

    Args:
        n: iterations, at least 1.
    """

    def __init__(self, n: int) -> None:
        self.n = whole_number("n", n, least=1)

    def check(self, history: History) -> StopDecision:
        """Stop once the history has n iterations."""
        return StopDecision(len(history) >= self.n, f"{len(history)} of {self.n} iterations")
