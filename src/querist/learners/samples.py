"""What learners share that are several models at once, or that refuse what only some can say."""

from __future__ import annotations

from typing import Protocol

import torch

from querist.errors import LearnerError
from querist.values import Task


def refuse_numbers(task: Task) -> None:
    """Refuse class probabilities of a learner that predicts numbers.

    Raises:
        LearnerError: it does.
    """
    if task is Task.REGRESSION:
        raise LearnerError("a regression learner has no class probabilities")


def decided(probabilities: torch.Tensor, task: Task) -> torch.Tensor:
    """What probabilities `(..., c)` come to: class indices `(...)`, or labels `(..., c)`, 0 or 1.

    A label is there from above one half on.
    """
    if task is Task.MULTILABEL:
        return (probabilities > 0.5).float()
    return probabilities.argmax(-1)


def without_single_column(samples: torch.Tensor) -> torch.Tensor:
    """Numbers `(t, n, d)`, or `(t, n)` where each sample has one."""
    return samples[:, :, 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples


class _SaysSamples(Protocol):
    @property
    def task(self) -> Task: ...

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor: ...

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor: ...

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor: ...


class MeanOfSamples:
    """Predicts the mean of what its models say, for a `SamplingPredictor`."""

    def predict_proba(self: _SaysSamples, features: torch.Tensor) -> torch.Tensor:
        """Probabilities `(n, c)` of classes or labels, the mean over its models."""
        return self.predict_proba_samples(features).mean(0)

    def predict(self: _SaysSamples, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, labels `(n, c)`, or numbers, the mean over its models."""
        if self.task.has_probabilities:
            return decided(self.predict_proba(features), self.task)
        return self.predict_samples(features).mean(0)
