"""Stop when a metric no longer gets better.

Early Stopping - But When?, Prechelt, 1998, doi:10.1007/3-540-49430-8_3.
"""

from __future__ import annotations

import math

from querist.directions import as_written, direction_of, gain
from querist.registry import register
from querist.strategies.options import finite_number, text, whole_number
from querist.strategies.stopping.metric import metric_if_there, metric_of
from querist.values import History, StopDecision


@register("stop", "plateau")
class Plateau:
    """Stops after a number of iterations in a row that did not better the best one.

    Args:
        metric: a name that metrology measures, or `train_loss`.
        patience: iterations without improvement before it stops, at least 1.
        min_delta: an improvement is strictly more than this, in units of the metric.
        direction: `max`, `min`, or `auto` for metrics whose direction is known.
    """

    def __init__(
        self, metric: str, patience: int = 3, min_delta: float = 0.0, direction: str = "auto"
    ) -> None:
        self.metric = text("metric", metric)
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = finite_number("min_delta", min_delta, least=0.0)
        self.direction = direction_of(metric, direction)
        self.needs = (metric,)

    def check(self, history: History) -> StopDecision:
        """Stop when the last `patience` measured iterations brought no improvement.

        NaN and infinity are no improvement; while the newest value is NaN it does not stop.
        Iterations that were not measured do not count.

        Raises:
            StrategyError: the newest iteration did not measure the metric.
        """
        if not history:
            return StopDecision(False, "no iteration yet")
        newest = metric_of(history[-1], self.metric)
        best: float | None = None
        best_at = -1
        waited = 0
        for result in history:
            found = metric_if_there(result, self.metric)
            if found is None:
                continue
            if self._better(found, best):
                best, best_at, waited = found, result.iteration, 0
            else:
                waited += 1
        stands = (
            f"{self.metric} has never been finite"
            if best is None
            else f"{self.metric} {best:.6g} of iteration {best_at} not bettered"
            + (f" by more than {self.min_delta:g}" if self.min_delta else "")
        )
        reason = f"{stands} for {waited} of {self.patience} iterations"
        if math.isnan(newest):
            nan = f"{self.metric} is NaN after {history[-1].labels} labels"
            return StopDecision(False, f"{nan}; {reason}")
        return StopDecision(waited >= self.patience, reason)

    def _better(self, found: float, best: float | None) -> bool:
        if not math.isfinite(found):
            return False
        if best is None:
            return True
        return gain(new=found, old=best, direction=self.direction) > as_written(self.min_delta)
