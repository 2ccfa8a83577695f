"""Metrology strategies: what is measured of a learner."""

from querist.strategies.metrology.accuracy import Accuracy
from querist.strategies.metrology.auc_pr import AucPr
from querist.strategies.metrology.balanced_accuracy import BalancedAccuracy
from querist.strategies.metrology.brier import Brier
from querist.strategies.metrology.calibration_error import CalibrationError
from querist.strategies.metrology.command import MetrologyCommand
from querist.strategies.metrology.f1 import F1
from querist.strategies.metrology.log_loss import LogLoss
from querist.strategies.metrology.multilabel import (
    F1Macro,
    F1Micro,
    HammingLoss,
    SubsetAccuracy,
)
from querist.strategies.metrology.python_callable import MetrologyCallable
from querist.strategies.metrology.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    RSquared,
)
from querist.strategies.metrology.roc_auc import RocAuc
from querist.strategies.metrology.stability import Stability

__all__ = [
    "F1",
    "Accuracy",
    "AucPr",
    "BalancedAccuracy",
    "Brier",
    "CalibrationError",
    "F1Macro",
    "F1Micro",
    "HammingLoss",
    "LogLoss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MetrologyCallable",
    "MetrologyCommand",
    "RSquared",
    "RocAuc",
    "RootMeanSquaredError",
    "Stability",
    "SubsetAccuracy",
]
