"""Stop criteria: when a learner has learned enough."""

from querist.strategies.stopping.all_of import AllOf
from querist.strategies.stopping.any_of import AnyOf
from querist.strategies.stopping.command import StopCommand
from querist.strategies.stopping.label_budget import LabelBudget
from querist.strategies.stopping.max_iterations import MaxIterations
from querist.strategies.stopping.metric_threshold import MetricThreshold
from querist.strategies.stopping.plateau import Plateau
from querist.strategies.stopping.python_callable import StopCallable

__all__ = [
    "AllOf",
    "AnyOf",
    "LabelBudget",
    "MaxIterations",
    "MetricThreshold",
    "Plateau",
    "StopCallable",
    "StopCommand",
]
