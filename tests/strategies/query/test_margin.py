from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.margin import Margin, margin_scores, one_less_margin
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> Margin:
        return Margin()


def reference(probabilities: Any) -> Any:
    ordered = np.sort(probabilities, axis=1)
    return ordered[:, -2] - ordered[:, -1]


def test_scores_by_hand() -> None:
    rows = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    expected = torch.tensor([-0.5, -0.05, -1.0, 0.0])
    torch.testing.assert_close(margin_scores(rows), expected)


def test_margin_of_a_single_class_is_one() -> None:
    assert margin_scores(torch.ones(2, 1)).tolist() == [-1.0, -1.0]
    assert one_less_margin(torch.ones(2, 1)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("classes", [2, 3, 16, 17, 40])
def test_two_equal_highest_classes_have_no_margin(classes: int) -> None:
    rows = torch.zeros(3, classes)
    rows[0, [0, 1]] = 0.5
    rows[1, [0, classes - 1]] = 0.5
    rows[2] = 1 / classes
    assert margin_scores(rows).tolist() == [0.0, 0.0, 0.0]


@settings(deadline=None)
@given(
    rows=st.integers(1, 60),
    classes=st.sampled_from([2, 3, 10, 16, 17, 50]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(rows: int, classes: int, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), rows)
    scores = margin_scores(torch.from_numpy(probabilities)).numpy()
    np.testing.assert_allclose(scores, reference(probabilities), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    context = query_context()
    selection = Margin().sample(context, n)
    features = context.pool.features(context.unlabeled)
    scores = reference(context.learner.predict_proba(features).numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9, atol=1e-12)
