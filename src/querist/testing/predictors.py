"""Tiny real models with the side of a learner that strategies see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from querist.values import Task
from querist.views import View


class _EmbedsByFeatures:
    """Says that its embeddings are the features, in the type of its weights."""

    @property
    def views(self) -> frozenset[View]:
        """Embeddings."""
        return frozenset({View.EMBEDDINGS})

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The features, flattened `(n, d)`."""
        return (_flat(features).double(),) * len(views)


class _EmbedsByAnswers(_EmbedsByFeatures):
    """Says that its embeddings are what it predicts beside the features.

    Args:
        function: features `(n, ...)` -> what it predicts `(n, ...)`.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The embeddings, as `(n, ...)` flattened and beside each other."""
        flat = _flat(features)
        beside = torch.cat([_flat(self.function(features)).to(flat.dtype), flat], dim=1)
        return (beside,) * len(views)


def _products(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """features `(n, ...)` · weights `(d, c)`: `(n, c)`, each row the same in any company.

    Summed by hand: a matrix product may round by the number of rows, and a selection must not
    depend on the chunk size.
    """
    columns = _flat(features).to(weights.dtype)
    return (columns[:, :, None] * weights).sum(1)


class LinearSoftmax(_EmbedsByFeatures):
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
        return _products(features, self.weights).softmax(1)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`."""
        return self.predict_proba(features).argmax(1)


class DrawnSoftmax(LinearSoftmax):
    """The mean of several linear softmax models, which can be asked one by one.

    Args:
        weights: `(t, d, c)`.
    """

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`."""
        return self.predict_proba_samples(features).mean(0)

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each model `(t, n, c)`."""
        return torch.stack([LinearSoftmax(w).predict_proba(features) for w in self.weights])

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices of each model `(t, n)`."""
        return self.predict_proba_samples(features).argmax(2)


class LinearNumbers(_EmbedsByFeatures):
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
        columns = _flat(features).to(self.weights.dtype)
        return (columns * self.weights).sum(1)


class DrawnNumbers(LinearNumbers):
    """The mean of several linear models, which can be asked one by one.

    Args:
        weights: `(t, d)`.
    """

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Numbers `(n,)`."""
        return self.predict_samples(features).mean(0)

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Refused: numbers have no class probabilities."""
        raise NotImplementedError("a regression learner has no class probabilities")

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Numbers of each model `(t, n)`."""
        return torch.stack([LinearNumbers(w).predict(features) for w in self.weights])


class LinearLabels(_EmbedsByFeatures):
    """Probabilities of several labels sigmoid(features · weights), always the same ones.

    Args:
        weights: `(d, c)`.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @property
    def task(self) -> Task:
        """Multilabel."""
        return Task.MULTILABEL

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities of the labels `(n, c)`, each for itself."""
        return _products(features, self.weights).sigmoid()

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Labels `(n, c)`, 0 or 1."""
        return (self.predict_proba(features) > 0.5).float()


class FixedProbabilities(_EmbedsByAnswers):
    """Class probabilities from a function of the features; its models all say the same.

    Its embeddings are the probabilities beside the features, so that what is wrong with a row
    shows in all views.

    Args:
        function: features `(n, ...)` -> probabilities `(n, c)`.
    """

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

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of two models `(2, n, c)`."""
        return torch.stack([self.function(features)] * 2)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices of two models `(2, n)`."""
        return self.predict_proba_samples(features).argmax(2)


class FixedNumbers(_EmbedsByAnswers):
    """Numbers from a function of the features; its models all say the same.

    Its embeddings are the numbers beside the features.

    Args:
        function: features `(n, ...)` -> numbers `(n,)` or `(n, d)`.
    """

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

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Refused: numbers have no class probabilities."""
        raise NotImplementedError("a regression learner has no class probabilities")

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Numbers of two models `(2, n)` or `(2, n, d)`."""
        return torch.stack([self.function(features)] * 2)


class FixedLabels(_EmbedsByAnswers):
    """Probabilities of several labels from a function of the features.

    Its embeddings are the probabilities beside the features.

    Args:
        function: features `(n, ...)` -> probabilities `(n, c)`.
    """

    @property
    def task(self) -> Task:
        """Multilabel."""
        return Task.MULTILABEL

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities of the labels `(n, c)`."""
        return self.function(features)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Labels `(n, c)`, 0 or 1."""
        return (self.function(features) > 0.5).float()


def _flat(features: torch.Tensor) -> torch.Tensor:
    """Features `(n, ...)` as `(n, d)`, also where n is 0."""
    return features.reshape(len(features), math.prod(features.shape[1:]))
