"""Schedules: how settings change from iteration to iteration."""

from querist.strategies.schedules.adaptive import Adaptive
from querist.strategies.schedules.functions import cosine, exponential, linear, step
from querist.strategies.schedules.per_iteration import PerIteration
from querist.strategies.schedules.static import Static

__all__ = ["Adaptive", "PerIteration", "Static", "cosine", "exponential", "linear", "step"]
