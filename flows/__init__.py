"""Prefect flows: they compose tasks and decide nothing else."""

from querist.flows.active_learning import active_learning
from querist.flows.comparison import comparison
from querist.flows.iteration import iteration
from querist.flows.label_collection import Collection, label_collection
from querist.flows.model_comparison import model_comparison
from querist.flows.parallel_learners import parallel_learners
from querist.flows.retraining import retraining
from querist.flows.stream import Learners, LearnerState

__all__ = [
    "Collection",
    "LearnerState",
    "Learners",
    "active_learning",
    "comparison",
    "iteration",
    "label_collection",
    "model_comparison",
    "parallel_learners",
    "retraining",
]
