"""Tiny real models with the side of a learner that strategies see."""

from __future__ import annotations

from collections.abc import Callable

import torch

from querist.values import Task


class LinearSoftmax:
    """Class probabilities softmax(features · weights), always the same ones.

    Args:
        weights: `(d, c)`.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @property
    def task(self) -> Task:
        """Classification."""
        return Task.CLASSIFICATION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`."""
        # Products summed by hand: a matrix product may round by the number of rows, and a
        # selection must not depend on the chunk size.
        columns = features.reshape(len(features), -1).to(self.weights.dtype)
        logits = (columns[:, :, None] * self.weights).sum(1)
        return logits.softmax(1)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`."""
        return self.predict_proba(features).argmax(1)


class LinearNumbers:
    """Numbers features · weights, always the same ones.

    Args:
        weights: `(d,)` for one number per sample.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @property
    def task(self) -> Task:
        """Regression."""
        return Task.REGRESSION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Refused: numbers have no class probabilities."""
        raise NotImplementedError("a regression learner has no class probabilities")

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Numbers `(n,)`."""
        columns = features.reshape(len(features), -1).to(self.weights.dtype)
        return (columns * self.weights).sum(1)


class FixedProbabilities:
    """Class probabilities from a function of the features.

    Args:
        function: features `(n, ...)` -> probabilities `(n, c)`.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    @property
    def task(self) -> Task:
        """Classification."""
        return Task.CLASSIFICATION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`."""
        return self.function(features)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`."""
        return self.function(features).argmax(1)


class FixedNumbers:
    """Numbers from a function of the features.

    Args:
        function: features `(n, ...)` -> numbers `(n,)` or `(n, d)`.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    @property
    def task(self) -> Task:
        """Regression."""
        return Task.REGRESSION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Refused: numbers have no class probabilities."""
        raise NotImplementedError("a regression learner has no class probabilities")

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Numbers `(n,)` or `(n, d)`."""
        return self.function(features)
