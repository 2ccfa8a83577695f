from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.entropy import Entropy, entropy_scores
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> Entropy:
        return Entropy()


def reference(probabilities: Any) -> Any:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return -(probabilities * logs).sum(1)


def test_scores_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    expected = torch.tensor([0.0, math.log(2), math.log(3)])
    torch.testing.assert_close(entropy_scores(rows), expected)


def test_a_sure_prediction_scores_exactly_nothing() -> None:
    assert entropy_scores(torch.eye(4)).tolist() == [0.0] * 4


@settings(deadline=None)
@given(
    rows=st.integers(1, 60),
    classes=st.sampled_from([2, 3, 10, 16, 17, 50]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, classes: int, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), rows)
    scores = entropy_scores(torch.from_numpy(probabilities)).numpy()
    np.testing.assert_allclose(scores, reference(probabilities), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    context = query_context()
    selection = Entropy().sample(context, n)
    features = context.pool.features(context.unlabeled)
    scores = reference(context.learner.predict_proba(features).numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
