from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.expected_error_reduction import (
    ExpectedErrorReduction,
    components_of,
)
from querist.testing import LinearSoftmax, QueryStrategyContract, query_context
from tests.strategies.query.test_softmax_head import reference as fitted


class TestContract(QueryStrategyContract):
    def make(self) -> ExpectedErrorReduction:
        return ExpectedErrorReduction(targets=10)


class TestCandidatesContract(QueryStrategyContract):
    def make(self) -> ExpectedErrorReduction:
        return ExpectedErrorReduction(
            candidates=12, targets=10, space="features", batch="softmax", coldness=50
        )


def entropies(logits: Any) -> Any:
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return -(p * np.log(p)).sum(1)


def reference(context: Any) -> Any:
    """Slow, and by the paper: a model is fitted anew for each sample and label."""
    features = context.pool.features(torch.arange(40)).double().numpy()
    known, at = context.labeled.indices.numpy(), context.unlabeled.numpy()
    rows = np.vstack([features[at], features[at], features[known]])
    centred = rows - rows.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    rows = centred @ axes.T
    rows = np.hstack([rows / np.sqrt((rows**2).mean()), np.ones((len(rows), 1))])
    pool, labeled = rows[: len(at)], rows[2 * len(at) :]
    targets = context.labeled.targets.numpy()
    before = entropies(pool @ fitted(labeled, targets, 3, 1.0))
    p = context.learner.predict_proba(context.pool.features(context.unlabeled)).numpy()
    found = []
    for row in range(len(at)):
        lowered = 0.0
        for label in range(3):
            more, said = np.vstack([labeled, pool[row]]), np.append(targets, label)
            change = before - entropies(pool @ fitted(more, said, 3, 1.0))
            lowered += p[row, label] * np.delete(change, row).mean()
        found.append(lowered)
    return np.array(found)


def test_scores_agree_with_numpy() -> None:
    context = query_context(unlabeled=torch.arange(12, 27))
    scores = reference(context)
    order = np.argsort(-scores, kind="stable")
    selection = ExpectedErrorReduction().sample(context, 15)
    np.testing.assert_allclose(selection.scores, scores[order], atol=3e-4)
    assert np.corrcoef(scores, scores_of(selection, context))[0, 1] > 0.999


def scores_of(selection: Any, context: Any) -> list[float]:
    found = dict(zip(selection.indices, selection.scores, strict=True))
    return [found[index] for index in context.unlabeled.tolist()]


def test_a_sample_of_a_crowd_is_worth_more_than_one_alone() -> None:
    """Both are equally uncertain; the label of the first says something about many others."""
    crowd, alone = torch.tensor([2.0, 0.0]).expand(20, 2), torch.tensor([[0.0, 2.0]])
    features = torch.cat([crowd, alone, torch.tensor([[-2.0, -0.1], [-2.0, 0.1]])])
    context = query_context(
        features=features,
        targets=torch.zeros(23, dtype=torch.int64),
        learner=LinearSoftmax(torch.zeros(2, 2).double()),
        labeled=(21, 22),
    )
    assert 20 not in ExpectedErrorReduction().sample(context, 20).indices


def test_a_large_pool_is_refused_unless_candidates_are_drawn() -> None:
    with pytest.raises(StrategyError, match="at most 30 samples, and here are 37: set candidates"):
        ExpectedErrorReduction(at_most=30).sample(query_context(), 3)
    strategy = ExpectedErrorReduction(at_most=30, candidates=5)
    assert len(strategy.sample(query_context(), 3)) == 3
    assert len(strategy.sample(query_context(), 9)) == 9
    drawn = {strategy.sample(query_context(seed=seed), 5).indices for seed in range(3)}
    assert len(drawn) == 3


def test_a_head_of_too_many_weights_is_refused() -> None:
    learner = LinearSoftmax(torch.zeros(4, 1_500).double())
    with pytest.raises(StrategyError, match=r"5,000 weights, and 1,500 classes of 5 inputs are"):
        ExpectedErrorReduction().sample(query_context(learner=learner), 3)


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 9),
    width=st.integers(1, 6),
    dimensions=st.integers(1, 8),
    scale=st.sampled_from([1e-200, 1.0, 1e200]),
    seed=st.integers(0, 2**32 - 1),
)
def test_components_keep_what_they_can(
    rows: int, width: int, dimensions: int, scale: float, seed: int
) -> None:
    drawn = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, width))) * scale
    first, rest = components_of([drawn[:1], drawn[1:]], dimensions)
    found = torch.cat([first, rest])
    assert found.shape[0] == rows
    assert found.shape[1] <= 1 + min(dimensions, width)
    assert bool((found[:, -1] == 1).all())
    assert bool(torch.isfinite(found).all())
    if dimensions >= width and rows > 1:
        distances = torch.cdist(drawn / scale, drawn / scale)
        kept = torch.cdist(found, found)
        there = distances > 1e-6
        ratios = kept[there] / distances[there]
        torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at_most": 0}, "at_most is a whole number of at least 1"),
        ({"candidates": 0}, "candidates is a whole number of at least 1"),
        ({"targets": 0}, "targets is a whole number of at least 1"),
        ({"dimensions": 0}, "dimensions is a whole number of at least 1"),
        ({"penalty": 0}, "penalty is a number of at least 1e-06, not 0"),
        ({"penalty": -1}, "penalty is a finite number of at least 0"),
        ({"space": "sky"}, "space"),
    ],
)
def test_wrong_options_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ExpectedErrorReduction(**options)
