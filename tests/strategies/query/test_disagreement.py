from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.disagreement import Disagreement, disagreement_scores
from querist.testing import DrawnSoftmax, LinearSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> Disagreement:
        return Disagreement()


class TestModelsContract(QueryStrategyContract):
    def make(self) -> Disagreement:
        return Disagreement(committee="models", batch="power")


def reference(members: Any) -> Any:
    """Slow: every pair of members is asked."""
    found = []
    for row in range(len(members[0])):
        votes = [int(np.argmax(member[row])) for member in members]
        found.append(np.mean([a != b for a, b in combinations(votes, 2)]))
    return np.array(found)


def votes(*classes: int) -> list[torch.Tensor]:
    """One sample, and members that vote for these classes."""
    return [torch.eye(3, dtype=torch.float64)[c][None] for c in classes]


def test_scores_by_hand() -> None:
    assert disagreement_scores(votes(1, 1, 1)).tolist() == [0.0]
    assert disagreement_scores(votes(0, 1)).tolist() == [1.0]
    assert disagreement_scores(votes(0, 1, 2)).tolist() == [1.0]
    assert disagreement_scores(votes(2, 0, 2)).item() == pytest.approx(2 / 3)
    assert disagreement_scores(votes(2)).tolist() == [0.0]


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 20),
    classes=st.sampled_from([1, 2, 3, 10]),
    members=st.integers(2, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, classes: int, members: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (members, rows))
    scores = disagreement_scores(map(torch.from_numpy, drawn))
    assert scores.shape == (rows,)
    np.testing.assert_allclose(scores.numpy(), reference(drawn), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8)).double()
    learners = [LinearSoftmax(each) for each in weights]
    side_by_side = query_context(learner=learners[0], committee=learners[1:])
    alone = query_context(learner=DrawnSoftmax(weights))
    features = alone.pool.features(alone.unlabeled)
    scores = reference([one.predict_proba(features).numpy() for one in learners]).round(12)
    order = np.argsort(-scores, kind="stable")[:n]
    expected = tuple(alone.unlabeled.numpy()[order].tolist())
    assert Disagreement().sample(side_by_side, n).indices == expected
    assert Disagreement().sample(alone, n).indices == expected
