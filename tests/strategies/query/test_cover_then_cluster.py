from __future__ import annotations

import torch

from querist.strategies.query.cover_then_cluster import CoverThenCluster
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.testing import QueryStrategyContract, query_context


class TestWithFewLabels(QueryStrategyContract):
    def make(self) -> CoverThenCluster:
        return CoverThenCluster()


class TestWithManyLabels(QueryStrategyContract):
    def make(self) -> CoverThenCluster:
        return CoverThenCluster(labels_per_class=1)


def test_it_covers_up_to_so_many_labels_a_class_and_clusters_from_then_on() -> None:
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    cover = UncertaintyHerding(beta=20, weight="none")
    cluster = DBAL(beta=10, weight="ratio")
    for labels, expected in ((5, cover), (6, cluster), (40, cluster)):  # of three classes
        contexts = [query_context(features=features, labeled=range(labels)) for _ in range(2)]
        found = CoverThenCluster(labels_per_class=2).sample(contexts[0], 4)
        assert found == expected.sample(contexts[1], 4)


def test_the_two_halves_are_told_apart() -> None:
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    picks = [
        CoverThenCluster(labels_per_class=number).sample(
            query_context(features=features, labeled=range(6)), 4
        )
        for number in (0, 8)
    ]
    assert picks[0].indices != picks[1].indices
