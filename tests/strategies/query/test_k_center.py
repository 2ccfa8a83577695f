from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.k_center import KCenter
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KCenter:
        return KCenter()


class TestContractOfFeatures(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KCenter:
        return KCenter(space="features")


def reference(points: Any, unlabeled: list[int], centers: list[int], n: int) -> list[int]:
    picked: list[int] = []
    for _ in range(n):
        nearest = [
            -1.0 if i in picked else min(float(np.sum((points[i] - points[c]) ** 2))
                                         for c in centers + picked)
            for i in unlabeled
        ]  # fmt: skip
        picked.append(unlabeled[int(np.argmax(nearest))])
    return picked


@pytest.mark.parametrize("n", [1, 8, 37])
def test_agrees_with_the_definition(n: int) -> None:
    context = query_context()
    selection = KCenter().sample(context, n)
    points = context.pool.features(torch.arange(40)).double().numpy()
    unlabeled, labeled = context.unlabeled.tolist(), context.labeled.indices.tolist()
    assert list(selection.indices) == reference(points, unlabeled, labeled, n)


def test_scores_are_the_distances() -> None:
    context = query_context(features=torch.tensor([[0.0], [1], [4], [9]]), labeled=(0,))
    selection = KCenter().sample(context, 3)
    assert selection.indices == (3, 2, 1)
    assert selection.scores == pytest.approx((9, 4, 1))


def test_without_labels_the_first_is_drawn() -> None:
    first = {
        KCenter().sample(query_context(labeled=(), seed=seed), 3).indices[0] for seed in range(20)
    }
    assert len(first) > 5


def test_an_outlier_comes_first() -> None:
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    features[17] = 20
    assert KCenter().sample(query_context(features=features), 2).indices[0] == 17


def test_a_learner_without_embeddings_is_refused_by_name() -> None:
    class Silent:
        def __init__(self, learner: Any) -> None:
            self.task, self.predict_proba = learner.task, learner.predict_proba

    context = query_context()
    silent = replace(context, learner=Silent(context.learner))
    assert len(KCenter().sample(silent, 3).indices) == 3
    with pytest.raises(StrategyError, match="embeddings"):
        KCenter(space="embeddings").sample(silent, 3)


def test_the_space_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="space"):
        KCenter(space="outer")
