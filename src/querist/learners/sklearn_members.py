"""A learner around a scikit-learn forest or bagging, whose members can be asked one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from querist.learners.samples import refuse_numbers
from querist.learners.sklearn_learner import SklearnLearner
from querist.learners.sklearn_views import member_numbers, member_probabilities
from querist.values import Task


class SklearnMembers(SklearnLearner):
    """The same, with the trees of a forest or the estimators of a bagging as its models.

    Args:
        estimator: a forest or a bagging, alone or at the end of a pipeline.
        classes: number of classes; None for regression.
        threads: CPU threads, or None to leave them alone.
    """

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each member `(t, n, c)`.

        Raises:
            LearnerError: the learner predicts numbers, or was never fitted.
        """
        refuse_numbers(self.task)

        def say(given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            estimator = self._estimator()
            known = estimator.classes_.astype(np.int64)
            parts = []
            for said in member_probabilities(estimator, given):
                whole = np.zeros((len(given), self.classes or 0))
                whole[:, known] = said
                parts.append(whole)
            return np.stack(parts)

        return self._of_rows(features, say, rows=1)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(t, n)`, or numbers `(t, n)` or `(t, n, d)`, of each member."""
        if self.task is Task.CLASSIFICATION:
            return self.predict_proba_samples(features).argmax(2)

        def say(given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.stack(list(member_numbers(self._estimator(), given)))

        return self._of_rows(features, say, rows=1)
