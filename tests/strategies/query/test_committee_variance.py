from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.committee_variance import (
    CommitteeVariance,
    committee_variance_scores,
)
from querist.testing import LinearNumbers, QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> CommitteeVariance:
        return CommitteeVariance()


class TestModelsContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> CommitteeVariance:
        return CommitteeVariance(committee="models", batch="softmax")


def test_scores_by_hand() -> None:
    one = torch.tensor([1.0, 5.0, 1e8], dtype=torch.float64)
    other = torch.tensor([3.0, 5.0, 1e8 + 2], dtype=torch.float64)
    assert committee_variance_scores([one, other]).tolist() == [1.0, 0.0, 1.0]


def test_variances_of_several_numbers_are_added() -> None:
    one, other = torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[2.0, 4.0]]).double()
    assert committee_variance_scores([one, other]).tolist() == [5.0]


@settings(deadline=None)
@given(
    rows=st.integers(1, 40),
    width=st.sampled_from([None, 1, 3]),
    members=st.integers(2, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, width: int | None, members: int, seed: int) -> None:
    shape = (members, rows) if width is None else (members, rows, width)
    drawn = np.random.default_rng(seed).normal(3, 10, shape)
    expected = drawn.var(axis=0).reshape(rows, -1).sum(1)
    scores = committee_variance_scores(map(torch.from_numpy, drawn)).numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    drawn = torch.Generator().manual_seed(8)
    members = [LinearNumbers(torch.randn(4, generator=drawn).double()) for _ in range(4)]
    context = query_context(learner=members[0], committee=members[1:])
    selection = CommitteeVariance().sample(context, n)
    features = context.pool.features(context.unlabeled)
    scores = np.var([member.predict(features).numpy() for member in members], axis=0)
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
