"""Promote the model that is better in one metric, measured on the same test set."""

from __future__ import annotations

import math

from querist.directions import Direction, as_written, direction_of, gain
from querist.registry import register
from querist.strategies.options import finite_number, text
from querist.values import Check, Evaluation, Verdict


@register("gate", "metric_improvement")
class MetricImprovement:
    """Promotes a challenger whose metric is better than the champion's by more than a margin.

    Args:
        metric: a name that metrology measures.
        min_delta: better means strictly more than this, in units of the metric.
        direction: `max`, `min`, or `auto` for metrics whose direction is known.
    """

    def __init__(self, metric: str, min_delta: float = 0.0, direction: str = "auto") -> None:
        self.metric = text("metric", metric)
        self.min_delta = finite_number("min_delta", min_delta, least=0.0)
        self.direction = direction_of(metric, direction)

    def compare(self, champion: Evaluation | None, challenger: Evaluation) -> Verdict:
        """Promote the first finite model, and then whichever is better on the same test set.

        A metric that is missing, NaN or infinite never promotes, on either side; nor do numbers
        from another test set.
        """
        old = None if champion is None else _number(champion, self.metric)
        new = _number(challenger, self.metric)
        won, reason, better_by = self._decide(champion, challenger, old, new)
        check = Check(self.metric, old, new, self.min_delta, won, reason, gain=better_by)
        return Verdict(won, reason, (check,))

    def _decide(
        self,
        champion: Evaluation | None,
        challenger: Evaluation,
        old: float | None,
        new: float | None,
    ) -> tuple[bool, str, float | None]:
        """Whether it wins, why, and by how much it is better; None where that cannot be said."""
        if new is None or not math.isfinite(new):
            return False, f"the challenger's {self.metric} {_fault(new)}", None
        if champion is None:
            return True, f"no champion yet: {self.metric} {new:.6g} is the first", None
        if champion.test_digest != challenger.test_digest:
            why = (
                f"the test sets differ ({champion.test_digest[:8]} and "
                f"{challenger.test_digest[:8]}): {self.metric} cannot be compared"
            )
            return False, why, None
        if old is None or not math.isfinite(old):
            why = f"the champion's {self.metric} {_fault(old)}: nothing to compare with"
            return False, why, None
        better_by = gain(new=new, old=old, direction=self.direction)
        won = better_by > as_written(self.min_delta)
        word = "higher" if self.direction is Direction.MAX else "lower"
        verb = "is" if won else "is not"
        margin = f" by more than {self.min_delta:g}" if self.min_delta else ""
        reason = f"{self.metric} {new:.6g} {verb} {word} than {old:.6g}{margin}"
        return won, reason, float(better_by)


def _number(evaluation: Evaluation, metric: str) -> float | None:
    found = evaluation.metrics.get(metric)
    return None if found is None else float(found)


def _fault(found: float | None) -> str:
    return "is missing" if found is None else f"is {found}"
