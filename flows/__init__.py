"""Prefect flows: they compose tasks and decide nothing else."""

from querist.flows.active_learning import active_learning
from querist.flows.comparison import comparison
from querist.flows.iteration import iteration

__all__ = ["active_learning", "comparison", "iteration"]
