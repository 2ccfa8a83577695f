"""Schedules: how settings change from iteration to iteration."""

from querist.strategies.schedules.per_iteration import PerIteration
from querist.strategies.schedules.static import Static

__all__ = ["PerIteration", "Static"]
