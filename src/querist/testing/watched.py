"""A learner that is watched: what a strategy asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from querist.views import View


class Watched:
    """A learner that remembers what it was asked for.

    Args:
        learner: which answers.

    Attributes:
        asked: the views that were asked for so far.
    """

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        self.asked: set[View] = set()
        self.task = learner.task
        self.views = learner.views

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the learner says."""
        self.asked |= set(views)
        found: tuple[torch.Tensor, ...] = self.learner.look(views, features)
        return found

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`."""
        self.asked.add(View.PROBABILITIES)
        found: torch.Tensor = self.learner.predict_proba(features)
        return found

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Predictions `(n, ...)`."""
        self.asked.add(View.NUMBERS)
        found: torch.Tensor = self.learner.predict(features)
        return found

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each model `(t, n, c)`."""
        self.asked.add(View.PROBABILITY_SAMPLES)
        found: torch.Tensor = self.learner.predict_proba_samples(features)
        return found

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Predictions of each model `(t, n, ...)`."""
        self.asked.add(View.NUMBER_SAMPLES)
        found: torch.Tensor = self.learner.predict_samples(features)
        return found
