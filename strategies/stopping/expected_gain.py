"""Stop when the next label is not worth its cost.

Cost-minimising strategies for data labelling: optimal stopping and active learning, Dimitrakakis
and Savu-Krohn, 2008, arXiv:0708.1242: labels are bought as long as one is expected to gain more
than it costs. What it gains is read off the learning curve here: the slope of the least-squares
line through the last iterations, the gradient of Stopping Criteria for Active Learning of Named
Entity Recognition, Laws and Schuetze, 2008, https://aclanthology.org/C08-1059. Learning curves
flatten, so the slope so far is the most that the next label is expected to gain.
"""

from __future__ import annotations

import math
from fractions import Fraction

from querist.directions import Direction, as_written, direction_of
from querist.registry import register
from querist.strategies.options import finite_number, text, whole_number
from querist.strategies.stopping.metric import metric_if_there
from querist.strategies.stopping.window import window_of
from querist.values import History, IterationResult, StopDecision


@register("stop", "expected_gain")
class ExpectedGain:
    """Stops once the most that a label is expected to gain is worth less than it costs.

    The gain per label is the slope of the least-squares line through the metric over the labels of
    the last iterations; a slope in the wrong direction counts as no gain.

    Args:
        metric: a name that metrology measures, or `train_loss`.
        value_per_point: what a metric that is better by 1 is worth, in the experiment's unit of
            cost: with 1000, an F1 of 0.81 instead of 0.80 is worth 10.
        cost_per_label: what a label costs, in that unit. Default: what labels cost so far, on the
            mean.
        window: iterations that the slope is taken over, at least 2.
        direction: `max`, `min`, or `auto` for metrics whose direction is known.
    """

    def __init__(
        self,
        metric: str,
        value_per_point: float,
        cost_per_label: float | None = None,
        window: int = 3,
        direction: str = "auto",
    ) -> None:
        self.metric = text("metric", metric)
        self.value_per_point = finite_number("value_per_point", value_per_point, least=0.0)
        self.cost_per_label = (
            None
            if cost_per_label is None
            else finite_number("cost_per_label", cost_per_label, least=0.0)
        )
        self.window = whole_number("window", window, least=2)
        self.direction = direction_of(metric, direction)
        self.needs = (metric,)

    def check(self, history: History) -> StopDecision:
        """Stop when the expected gain of a label is strictly below its cost; NaN never is.

        Raises:
            StrategyError: the newest iteration did not measure the metric.
        """
        found = window_of(history, self.metric, self.window)
        if found.flaw:
            return StopDecision(False, found.flaw)
        cost = self._cost(history[-1])
        if cost is None:
            why = "none was bought" if history[-1].labels_bought == 0 else "it is NaN or infinite"
            return StopDecision(False, f"what a label costs is not known: {why}")
        there = [r.labels for r in history if metric_if_there(r, self.metric) is not None]
        slope = _slope(there[-self.window :], [Fraction(value) for value in found.values])
        if slope is None:
            return StopDecision(False, f"no label came in {self.window} iterations")
        gain = max(Fraction(0), slope if self.direction is Direction.MAX else -slope)
        worth = gain * Fraction(as_written(self.value_per_point))
        stop = worth < cost
        return StopDecision(
            stop,
            f"a label is expected to gain {float(gain):.3g} {self.metric}, worth "
            f"{float(worth):.3g}, {'below' if stop else 'not below'} its cost {float(cost):.3g} "
            f"after {found.labels} labels",
        )

    def _cost(self, newest: IterationResult) -> Fraction | None:
        """What a label costs; None while nobody knows."""
        if self.cost_per_label is not None:
            return Fraction(as_written(self.cost_per_label))
        if newest.labels_bought == 0 or not math.isfinite(newest.label_cost):
            return None
        return Fraction(as_written(newest.label_cost)) / newest.labels_bought


def _slope(x: list[int], y: list[Fraction]) -> Fraction | None:
    """The slope of the least-squares line, exactly; None when all x are equal."""
    n = len(x)
    spread = n * sum(a * a for a in x) - sum(x) ** 2
    if spread == 0:
        return None
    together = n * sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))
    return (together - sum(x) * sum(y, Fraction(0))) / spread
