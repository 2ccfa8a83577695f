from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.variation_ratios import VariationRatios, variation_ratio_scores
from querist.testing import DrawnSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> VariationRatios:
        return VariationRatios()


class TestSoftrankContract(QueryStrategyContract):
    def make(self) -> VariationRatios:
        return VariationRatios(batch="softrank")


def reference(samples: Any) -> Any:
    """Slow, and by the book: 1 less the share of the mode."""
    found = []
    for row in range(samples.shape[1]):
        votes = Counter(int(np.argmax(model[row])) for model in samples)
        found.append(1 - max(votes.values()) / len(samples))
    return np.array(found)


def test_scores_by_hand() -> None:
    votes = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 0], [0, 1], [0, 2], [1, 2]])]
    assert variation_ratio_scores(votes).tolist() == [0.25, 0.5]


@settings(deadline=None, max_examples=30)
@given(
    models=st.integers(1, 7),
    rows=st.integers(1, 20),
    classes=st.sampled_from([1, 2, 3, 10]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(models: int, rows: int, classes: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (models, rows))
    scores = variation_ratio_scores(torch.from_numpy(drawn.astype(np.float32)))
    assert scores.shape == (rows,)
    np.testing.assert_allclose(scores.numpy(), reference(drawn.astype(np.float32)), atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8)).double()
    context = query_context(learner=DrawnSoftmax(weights))
    features = context.pool.features(context.unlabeled)
    scores = reference(DrawnSoftmax(weights).predict_proba_samples(features).numpy()).round(12)
    order = np.argsort(-scores, kind="stable")[:n]
    selection = VariationRatios().sample(context, n)
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], atol=1e-12)
