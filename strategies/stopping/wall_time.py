"""Stop after a time."""

from __future__ import annotations

import math

from querist.registry import register
from querist.strategies.options import finite_number
from querist.values import History, StopDecision


@register("stop", "wall_time")
class WallTime:
    """Stops once the phases of all iterations together have taken a time.

    The time is the ledger's, so it goes on where it was when a run is resumed; time in which
    nothing worked on the run, or in a phase that was cut off, is not in it. An iteration that has
    begun is finished.

    Args:
        seconds: seconds, at least 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = finite_number("seconds", seconds, least=0.0)

    def check(self, history: History) -> StopDecision:
        """Stop once the sum over phases and iterations is at least `seconds`; NaN never is."""
        if not history:
            return StopDecision(False, "no iteration yet")
        taken = math.fsum(s for result in history for s in result.seconds.values())
        shown = "NaN" if math.isnan(taken) else f"{taken:.1f}"
        return StopDecision(taken >= self.seconds, f"{shown} of {self.seconds:g} seconds")
