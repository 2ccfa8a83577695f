from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.vote_entropy import VoteEntropy, vote_entropy_scores
from querist.testing import LinearSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> VoteEntropy:
        return VoteEntropy()


class TestModelsContract(QueryStrategyContract):
    def make(self) -> VoteEntropy:
        return VoteEntropy(committee="models", batch="softmax")


def reference(members: Any) -> Any:
    """Slow, and by the book: -sum v/k log v/k over the classes that got v of k votes."""
    found = []
    for row in range(len(members[0])):
        counts = Counter(int(np.argmax(member[row])) for member in members)
        shares = np.array(list(counts.values())) / len(members)
        found.append(-(shares * np.log(shares)).sum())
    return np.array(found)


def votes(*classes: int) -> list[torch.Tensor]:
    """One sample, and members that vote for these classes."""
    return [torch.eye(3, dtype=torch.float64)[c][None] for c in classes]


def test_scores_by_hand() -> None:
    assert vote_entropy_scores(votes(1, 1, 1)).tolist() == [0.0]
    assert vote_entropy_scores(votes(0, 1)).item() == pytest.approx(np.log(2))
    assert vote_entropy_scores(votes(0, 1, 2)).item() == pytest.approx(np.log(3))
    expected = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert vote_entropy_scores(votes(2, 0, 2)).item() == pytest.approx(expected)


def test_who_votes_for_what_makes_no_difference_to_the_bit() -> None:
    """Votes are few and ties many: rounding must not decide between them."""
    for split in ((0, 0, 1), (0, 0, 1, 1, 2), (0, 0, 0, 1, 2, 2, 1)):
        scores = {vote_entropy_scores(votes(*order)).item() for order in set(permutations(split))}
        renamed = vote_entropy_scores(votes(*(2 - c for c in split))).item()
        assert scores == {renamed}


def test_equal_probabilities_vote_for_the_first_class() -> None:
    torn = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    assert vote_entropy_scores([torn, *votes(0)]).tolist() == [0.0]


@settings(deadline=None)
@given(
    rows=st.integers(1, 40),
    classes=st.sampled_from([1, 2, 3, 10]),
    members=st.integers(2, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, classes: int, members: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (members, rows))
    scores = vote_entropy_scores(map(torch.from_numpy, drawn)).numpy()
    np.testing.assert_allclose(scores, reference(drawn), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.Generator().manual_seed(8)
    others = [LinearSoftmax(torch.randn(4, 3, generator=weights).double()) for _ in range(3)]
    context = query_context(committee=others)
    selection = VoteEntropy().sample(context, n)
    features = context.pool.features(context.unlabeled)
    members = [one.predict_proba(features).numpy() for one in (context.learner, *others)]
    scores = reference(members).round(12)
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
