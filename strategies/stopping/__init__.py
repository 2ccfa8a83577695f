"""Stop criteria: when a learner has learned enough."""

from querist.strategies.stopping.all_of import AllOf
from querist.strategies.stopping.any_of import AnyOf
from querist.strategies.stopping.classification_change import ClassificationChange
from querist.strategies.stopping.command import StopCommand
from querist.strategies.stopping.cost import Cost
from querist.strategies.stopping.delta_f import DeltaF
from querist.strategies.stopping.expected_gain import ExpectedGain
from querist.strategies.stopping.label_budget import LabelBudget
from querist.strategies.stopping.max_iterations import MaxIterations
from querist.strategies.stopping.metric_threshold import MetricThreshold
from querist.strategies.stopping.overall_uncertainty import OverallUncertainty
from querist.strategies.stopping.plateau import Plateau
from querist.strategies.stopping.python_callable import StopCallable
from querist.strategies.stopping.stabilizing_predictions import StabilizingPredictions
from querist.strategies.stopping.wall_time import WallTime

__all__ = [
    "AllOf",
    "AnyOf",
    "ClassificationChange",
    "Cost",
    "DeltaF",
    "ExpectedGain",
    "LabelBudget",
    "MaxIterations",
    "MetricThreshold",
    "OverallUncertainty",
    "Plateau",
    "StabilizingPredictions",
    "StopCallable",
    "StopCommand",
    "WallTime",
]
