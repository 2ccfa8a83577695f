from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from querist.strategies.query.consensus_kl import ConsensusKL, consensus_kl_scores
from querist.testing import LinearSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> ConsensusKL:
        return ConsensusKL()


class TestModelsContract(QueryStrategyContract):
    def make(self) -> ConsensusKL:
        return ConsensusKL(committee="models", batch="softmax")


def reference(members: Any) -> Any:
    """By the book: the divergence of each member from the mean, then their mean."""
    members = np.asarray(members, dtype=np.float64)
    return rel_entr(members, members.mean(0)).sum(2).mean(0)


def rows(*probabilities: list[float]) -> list[torch.Tensor]:
    return [torch.tensor([row], dtype=torch.float64) for row in probabilities]


def test_scores_by_hand() -> None:
    assert consensus_kl_scores(rows([0.7, 0.3], [0.7, 0.3])).item() == pytest.approx(0, abs=1e-15)
    assert consensus_kl_scores(rows([1.0, 0.0], [0.0, 1.0])).item() == pytest.approx(np.log(2))
    sure = consensus_kl_scores(rows([0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]))
    assert sure.tolist() == [0.0]


def test_soft_votes_tell_apart_what_hard_votes_do_not() -> None:
    near = consensus_kl_scores(rows([0.6, 0.4], [0.7, 0.3]))
    far = consensus_kl_scores(rows([0.6, 0.4], [0.99, 0.01]))
    assert far > near > 0


@settings(deadline=None)
@given(
    size=st.integers(1, 40),
    classes=st.sampled_from([1, 2, 3, 10, 50]),
    members=st.integers(2, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(size: int, classes: int, members: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (members, size))
    scores = consensus_kl_scores(map(torch.from_numpy, drawn)).numpy()
    np.testing.assert_allclose(scores, reference(drawn), rtol=1e-9, atol=1e-12)
    assert (scores >= 0).all()


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.Generator().manual_seed(8)
    others = [LinearSoftmax(torch.randn(4, 3, generator=weights).double()) for _ in range(3)]
    context = query_context(committee=others)
    selection = ConsensusKL().sample(context, n)
    features = context.pool.features(context.unlabeled)
    scores = reference([m.predict_proba(features).numpy() for m in (context.learner, *others)])
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
