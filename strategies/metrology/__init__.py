"""Metrology strategies: what is measured of a learner."""

from querist.strategies.metrology.accuracy import Accuracy
from querist.strategies.metrology.command import MetrologyCommand
from querist.strategies.metrology.f1 import F1
from querist.strategies.metrology.python_callable import MetrologyCallable
from querist.strategies.metrology.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    RSquared,
)

__all__ = [
    "F1",
    "Accuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MetrologyCallable",
    "MetrologyCommand",
    "RSquared",
]
