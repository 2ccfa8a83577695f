from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StrategyError
from querist.strategies.query.mean_std import MeanStd, mean_std_scores
from querist.testing import DrawnSoftmax, LinearSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> MeanStd:
        return MeanStd()


class TestPowerContract(QueryStrategyContract):
    def make(self) -> MeanStd:
        return MeanStd(batch="power")


def reference(samples: Any) -> Any:
    """Slow, and by the paper: sqrt(E[p^2] - E[p]^2) of each class, averaged."""
    found = []
    for row in range(samples.shape[1]):
        deviations = []
        for label in range(samples.shape[2]):
            p = samples[:, row, label].astype(np.float64)
            deviations.append(np.sqrt(max(0.0, (p**2).mean() - p.mean() ** 2)))
        found.append(np.mean(deviations))
    return np.array(found)


def test_scores_by_hand() -> None:
    torn = torch.tensor([[[1.0, 0.0], [0.6, 0.4]], [[0.0, 1.0], [0.6, 0.4]]])
    torch.testing.assert_close(mean_std_scores(torn), torch.tensor([0.5, 0.0]))


@settings(deadline=None, max_examples=30)
@given(
    models=st.integers(1, 6),
    rows=st.integers(1, 20),
    classes=st.sampled_from([1, 2, 3, 10]),
    single=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(
    models: int, rows: int, classes: int, single: bool, seed: int
) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (models, rows))
    samples = torch.from_numpy(drawn.astype(np.float32 if single else np.float64))
    scores = mean_std_scores(samples)
    assert scores.shape == (rows,)
    assert scores.dtype == samples.dtype
    atol = 1e-6 if single else 1e-7  # the reference squares before it subtracts
    np.testing.assert_allclose(scores.numpy(), reference(samples.numpy()), atol=atol)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8)).double()
    context = query_context(learner=DrawnSoftmax(weights))
    features = context.pool.features(context.unlabeled)
    scores = reference(DrawnSoftmax(weights).predict_proba_samples(features).numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    selection = MeanStd().sample(context, n)
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-6)


def test_a_learner_of_one_model_is_refused() -> None:
    context = query_context(learner=LinearSoftmax(torch.zeros(4, 3).double()))
    with pytest.raises(StrategyError, match="needs the learner's probability samples"):
        MeanStd().sample(context, 3)
