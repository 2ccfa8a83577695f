"""Stop when a metric is good enough."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable

from querist.directions import Direction, direction_of
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.options import finite_number, one_of, text
from querist.strategies.stopping.metric import metric_of
from querist.values import History, StopDecision

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "<": (operators.lt, ">="),
    "<=": (operators.le, ">"),
    ">": (operators.gt, "<="),
    ">=": (operators.ge, "<"),
}
"""By symbol: the comparison, and the symbol of its opposite."""


@register("stop", "metric_threshold")
class MetricThreshold:
    """Stops once a metric of the newest iteration reaches a value.

    Args:
        metric: a name that metrology measures, or `train_loss`.
        operator: `<`, `<=`, `>` or `>=`; stops when `metric operator value` holds. Default: `>=`
            for metrics that are better when higher, `<=` for those that are better when lower.
        value: the number that the metric is compared with.

    Raises:
        ConfigurationError: no operator is given, and the metric is not a known one.
    """

    def __init__(self, metric: str, operator: str | None = None, *, value: float) -> None:
        self.metric = text("metric", metric)
        self.operator = (
            _operator_for(metric)
            if operator is None
            else one_of("operator", operator, tuple(COMPARISONS))
        )
        self.value = finite_number("value", value)
        self.needs = (metric,)

    def check(self, history: History) -> StopDecision:
        """Stop when the newest value holds the comparison; NaN never does.

        Raises:
            StrategyError: the metric was not measured.
        """
        if not history:
            return StopDecision(False, "no iteration yet")
        found = metric_of(history[-1], self.metric)
        holds, opposite = COMPARISONS[self.operator]
        after = f"after {history[-1].labels} labels"
        if found != found:
            return StopDecision(False, f"{self.metric} is NaN {after}")
        stop = holds(found, self.value)
        sign = self.operator if stop else opposite
        return StopDecision(stop, f"{self.metric} {found:.6g} {sign} {self.value:.6g} {after}")


def _operator_for(metric: str) -> str:
    try:
        direction = direction_of(metric)
    except ConfigurationError:
        raise ConfigurationError(
            f"operator may be left out for metrics whose direction is known, unlike {metric!r}: "
            "set operator to one of <, <=, >, >="
        ) from None
    return ">=" if direction is Direction.MAX else "<="
