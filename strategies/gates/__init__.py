"""Gates: whether a challenger takes the champion's place."""

from querist.strategies.gates.compare import Compare
from querist.strategies.gates.metric_improvement import MetricImprovement

__all__ = ["Compare", "MetricImprovement"]
