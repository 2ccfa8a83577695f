from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.errors import StrategyError
from querist.strategies.query.predictive_variance import (
    PredictiveVariance,
    predictive_variance_scores,
)
from querist.testing import DrawnNumbers, LinearNumbers, QueryStrategyContract, query_context
from querist.values import Task
from querist.views import View, views_of


class TestContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> PredictiveVariance:
        return PredictiveVariance()


class TestContractOfDraws(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> PredictiveVariance:
        return PredictiveVariance(batch="power")


class KnowsVariances(LinearNumbers):
    """Its variance is a feature, for as many numbers as the feature is copied."""

    def __init__(self, numbers: int = 1) -> None:
        super().__init__(torch.ones(4))
        self.numbers = numbers

    def predict_variance(self, features: torch.Tensor) -> torch.Tensor:
        column = features[:, 2].square()
        return column if self.numbers == 1 else column[:, None].repeat(1, self.numbers)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_agrees_with_numpy_over_the_models(n: int) -> None:
    weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(8)).double()
    context = query_context(learner=DrawnNumbers(weights))
    selection = PredictiveVariance().sample(context, n)
    features = context.pool.features(context.unlabeled).double()
    scores = np.var((features @ weights.T).numpy(), axis=1)
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9)


@pytest.mark.parametrize("numbers", [1, 3])
def test_a_learner_that_knows_variances_is_believed(numbers: int) -> None:
    learner = KnowsVariances(numbers)
    assert View.VARIANCES in views_of(learner)
    assert View.NUMBER_SAMPLES not in views_of(learner)
    context = query_context(learner=learner)
    selection = PredictiveVariance().sample(context, 5)
    scores = numbers * context.pool.features(context.unlabeled)[:, 2].square()
    expected = context.unlabeled[scores.argsort(descending=True, stable=True)[:5]]
    assert selection.indices == tuple(expected.tolist())
    torch.testing.assert_close(torch.tensor(selection.scores), scores.sort().values.flip(0)[:5])


def test_variances_of_several_numbers_are_added() -> None:
    scores = predictive_variance_scores(torch.tensor([[1.0, 2.0], [0.0, 5.0]]))
    assert scores.tolist() == [3, 5]


def test_a_single_model_is_refused_with_what_it_has() -> None:
    with pytest.raises(StrategyError, match=r"needs the learner's variances.*gives.*numbers"):
        PredictiveVariance().sample(query_context(learner=LinearNumbers(torch.ones(4))), 3)


def test_negative_variances_are_refused() -> None:
    learner = KnowsVariances()
    learner.predict_variance = lambda features: features[:, 2]  # type: ignore[method-assign]
    with pytest.raises(StrategyError, match="variances must be finite numbers.*are below 0"):
        PredictiveVariance().sample(query_context(learner=learner), 3)
