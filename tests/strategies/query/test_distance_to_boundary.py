from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StrategyError
from querist.strategies.query.distance_to_boundary import DistanceToBoundary, boundary_scores
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> DistanceToBoundary:
        return DistanceToBoundary()


def reference(probabilities: Any) -> Any:
    ordered = np.sort(probabilities, axis=1)
    first, second = ordered[:, -1], ordered[:, -2]
    return -np.abs(first / (first + second) - 0.5)


def test_two_classes_go_by_the_distance_to_one_half() -> None:
    rows = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0], [0.375, 0.625]])
    assert boundary_scores(rows).tolist() == [-0.25, 0.0, -0.5, -0.125]


def test_more_classes_go_by_the_two_most_probable() -> None:
    """An unsure 0.34 : 0.33 is nearer to a boundary than a fairly sure 0.5 : 0.25."""
    rows = torch.tensor([[0.34, 0.33, 0.33], [0.5, 0.25, 0.25], [0.4, 0.4, 0.2]])
    scores = boundary_scores(rows)
    assert scores.argsort(descending=True).tolist() == [2, 0, 1]
    assert scores[1].item() == pytest.approx(-1 / 6)


def test_a_class_that_is_alone_is_farthest_from_any_boundary() -> None:
    assert boundary_scores(torch.ones(2, 1)).tolist() == [-0.5, -0.5]


def test_probabilities_that_are_all_zero_are_refused() -> None:
    zeros = FixedProbabilities(lambda features: torch.zeros(len(features), 3))
    with pytest.raises(StrategyError, match="scores must be finite"):
        DistanceToBoundary().sample(query_context(learner=zeros), 3)


@settings(deadline=None)
@given(
    rows=st.integers(1, 60),
    classes=st.sampled_from([2, 3, 10, 16, 17, 50]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, classes: int, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), rows)
    scores = boundary_scores(torch.from_numpy(probabilities)).numpy()
    np.testing.assert_allclose(scores, reference(probabilities), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    context = query_context()
    selection = DistanceToBoundary().sample(context, n)
    features = context.pool.features(context.unlabeled)
    scores = reference(context.learner.predict_proba(features).numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
