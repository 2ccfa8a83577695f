"""Figures as PNG files. matplotlib is imported when the first one is drawn."""

from querist.figures.comparison import comparison
from querist.figures.decision_boundary import decision_boundary
from querist.figures.learning_curve import learning_curve
from querist.figures.verdict import verdict

__all__ = ["comparison", "decision_boundary", "learning_curve", "verdict"]
