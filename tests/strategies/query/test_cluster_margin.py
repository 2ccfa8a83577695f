from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query import cluster_margin
from querist.strategies.query.cluster_margin import ClusterMargin, agglomerated, round_robin
from querist.strategies.query.margin import Margin
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> ClusterMargin:
        return ClusterMargin()


class TestContractOnFewClusters(QueryStrategyContract):
    def make(self) -> ClusterMargin:
        return ClusterMargin(candidates=3, clusters=2, space="features")


def reference(x: Any, clusters: int) -> list[set[int]]:
    """Merge the two clusters with the smallest mean distance, again and again."""
    groups = [{i} for i in range(len(x))]
    distance = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    while len(groups) > clusters:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        means = [distance[np.ix_(list(groups[a]), list(groups[b]))].mean() for a, b in pairs]
        a, b = pairs[int(np.argmin(means))]
        groups[b] |= groups.pop(a)
    return groups


def as_sets(cluster: torch.Tensor) -> list[set[int]]:
    return [set((cluster == c).nonzero()[:, 0].tolist()) for c in cluster.unique()]


@pytest.mark.parametrize("clusters", [1, 3, 10, 25])
def test_clusters_agree_with_numpy(clusters: int) -> None:
    x = torch.randn(25, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = as_sets(agglomerated(x, clusters, torch.Generator()))
    assert sorted(map(sorted, found)) == sorted(map(sorted, reference(x.numpy(), clusters)))


def test_of_many_candidates_some_are_merged_and_the_others_join(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_margin, "CLUSTERED", 60)
    draw = torch.Generator().manual_seed(0)
    group = torch.arange(400) % 4
    x = torch.eye(4)[group] * 10 + torch.randn(400, 4, generator=draw) * 0.1
    found = as_sets(agglomerated(x, 4, draw))
    assert sorted(map(min, found)) == [0, 1, 2, 3]
    assert all(len({i % 4 for i in one}) == 1 for one in found)


def test_turns_begin_with_the_smallest_cluster() -> None:
    cluster = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    for seed in range(5):
        picks = round_robin(cluster, 6, torch.Generator().manual_seed(seed))
        assert [int(cluster[p]) for p in picks] == [2, 1, 0, 1, 0, 0]
        assert len(set(picks)) == 6
    drawn = {tuple(round_robin(cluster, 3, torch.Generator().manual_seed(s))) for s in range(20)}
    assert len(drawn) > 3


@pytest.mark.parametrize("n", [2, 6])
def test_takes_from_the_smallest_margins_only(n: int) -> None:
    picks = ClusterMargin(candidates=3).sample(query_context(), n)
    candidates = Margin().sample(query_context(), 3 * n)
    scores = dict(zip(candidates.indices, candidates.scores, strict=True))
    assert [scores[index] for index in picks.indices] == list(picks.scores)


def test_one_candidate_each_is_margin_sampling() -> None:
    picks = ClusterMargin(candidates=1).sample(query_context(), 7)
    assert picks == Margin().sample(query_context(), 7)


@pytest.mark.parametrize(
    "options", [{"candidates": 0.2}, {"clusters": 0}, {"space": "pixels"}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ClusterMargin(**options)
