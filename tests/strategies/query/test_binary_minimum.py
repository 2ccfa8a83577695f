from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StrategyError
from querist.strategies.query.binary_minimum import BinaryMinimum, binary_minimum_scores
from querist.testing import FixedLabels, QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    task = Task.MULTILABEL

    def make(self) -> BinaryMinimum:
        return BinaryMinimum()


class TestContractOfDraws(QueryStrategyContract):
    task = Task.MULTILABEL

    def make(self) -> BinaryMinimum:
        return BinaryMinimum(batch="power", coldness=2)


def test_scores_by_hand() -> None:
    rows = torch.tensor([[0.9, 0.6, 0.0], [0.5, 1.0, 1.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(binary_minimum_scores(rows), torch.tensor([-0.1, 0.0, -0.5]))


def test_one_uncertain_label_counts_and_the_others_do_not() -> None:
    """All that the paper promises: sure labels beside it do not hide it."""

    def likely(features: torch.Tensor) -> torch.Tensor:
        found = torch.full((len(features), 4), 0.3)
        found[6] = torch.tensor([0.55, 1.0, 0.0, 1.0])
        return found

    context = query_context(learner=FixedLabels(likely), chunk_size=100)
    assert BinaryMinimum().sample(context, 1).indices == (int(context.unlabeled[6]),)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 30), labels=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_scores_agree_with_numpy(rows: int, labels: int, seed: int) -> None:
    likely = np.random.default_rng(seed).random((rows, labels))
    expected = [-min(abs(p - 0.5) for p in row) for row in likely]
    np.testing.assert_allclose(binary_minimum_scores(torch.from_numpy(likely)), expected)


def test_classes_are_refused_with_what_there_is() -> None:
    with pytest.raises(StrategyError, match="needs the learner's label probabilities, and a class"):
        BinaryMinimum().sample(query_context(), 3)
