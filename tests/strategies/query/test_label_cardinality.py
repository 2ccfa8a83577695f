from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.query.label_cardinality import (
    LabelCardinality,
    label_cardinality_scores,
    label_margins,
)
from querist.testing import FixedLabels, QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    task = Task.MULTILABEL

    def make(self) -> LabelCardinality:
        return LabelCardinality()


class TestContractOfMargins(QueryStrategyContract):
    task = Task.MULTILABEL

    def make(self) -> LabelCardinality:
        return LabelCardinality(margin_share=1.0)


class TestContractOfDraws(QueryStrategyContract):
    task = Task.MULTILABEL

    def make(self) -> LabelCardinality:
        return LabelCardinality(batch="softrank")


def slow(likely: Any, cardinality: float | None, share: float) -> list[float]:
    scores = []
    for row in likely:
        logits = [math.log(p / (1 - p)) for p in row]
        above = [f for f in logits if f > 0]
        below = [f for f in logits if f <= 0]
        margin = min(above, default=0.0) - max(below, default=0.0)
        u = 1 / max(margin, 1e-6)
        scores.append(
            u if cardinality is None else u**share * abs(len(above) - cardinality) ** (1 - share)
        )
    return scores


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 20),
    labels=st.integers(1, 8),
    cardinality=st.one_of(st.none(), st.floats(0, 8)),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_a_slow_reference(
    rows: int, labels: int, cardinality: float | None, share: float, seed: int
) -> None:
    likely = np.random.default_rng(seed).uniform(0.01, 0.99, (rows, labels))
    found = label_cardinality_scores(torch.from_numpy(likely), cardinality, share)
    np.testing.assert_allclose(found, slow(likely, cardinality, share), rtol=1e-9)


def test_margins_by_hand() -> None:
    """From the lowest that is there to the highest that is not; 0 where one side is empty."""
    logits = torch.tensor([[2.0, 1.0, -3.0], [2.0, 1.0, 3.0], [-2.0, -1.0, -4.0]])
    torch.testing.assert_close(label_margins(logits.sigmoid()), torch.tensor([4.0, 1.0, 1.0]))


def test_an_unusual_number_of_labels_is_wanted() -> None:
    """Labeled samples have one label each; the margins are all alike."""
    there = torch.zeros(40, 3)
    there[:, 0] = 1
    there[17] = 1

    def likely(features: torch.Tensor) -> torch.Tensor:
        rows = features[:, 0].long()
        return there[rows] * 0.6 + 0.2

    numbers = torch.arange(40, dtype=torch.float32)[:, None].expand(40, 3).contiguous()
    context = query_context(features=numbers, targets=there, learner=FixedLabels(likely))
    assert LabelCardinality(margin_share=0.0).sample(context, 1).indices == (17,)


def test_without_labels_the_margin_decides() -> None:
    likely = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    first, second = label_cardinality_scores(likely, None, 0.0).tolist()
    assert second > first
    context = query_context(
        learner=FixedLabels(lambda features: features[:, :3].sigmoid()), labeled=()
    )
    assert len(LabelCardinality().sample(context, 5)) == 5


def test_certain_labels_have_finite_scores() -> None:
    likely = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.5, 0.5]])
    assert bool(torch.isfinite(label_cardinality_scores(likely, 1.0, 0.5)).all())


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "half"])
def test_a_share_is_a_share(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="margin_share is a number from 0 to 1"):
        LabelCardinality(margin_share=wrong)
