from __future__ import annotations

from collections import Counter

import torch

from querist.strategies.query.k_means_plus_plus import KMeansPlusPlus
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KMeansPlusPlus:
        return KMeansPlusPlus()


class TestContractOfFeatures(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KMeansPlusPlus:
        return KMeansPlusPlus(space="features")


def test_samples_are_drawn_by_squared_distance_from_the_labeled() -> None:
    features = torch.tensor([[0.0], [1], [2], [3]])
    drawn = Counter(
        KMeansPlusPlus()
        .sample(query_context(features=features, labeled=(0,), seed=seed), 1)
        .indices[0]
        for seed in range(420)
    )
    shares = torch.tensor([drawn[1], drawn[2], drawn[3]]) / 30
    torch.testing.assert_close(shares, torch.tensor([1.0, 4.0, 9.0]), rtol=0.2, atol=0.4)


def test_labeled_places_are_not_drawn_again() -> None:
    features = torch.zeros(40, 2)
    features[20:25] = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)) + 9
    selection = KMeansPlusPlus().sample(query_context(features=features, labeled=(0,)), 5)
    assert sorted(selection.indices) == [20, 21, 22, 23, 24]
