from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.points import Points
from querist.strategies.query.typiclust import TypiClust
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> TypiClust:
        return TypiClust()


class TestContractWithFewClusters(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> TypiClust:
        return TypiClust(neighbours=2, max_clusters=3, min_size=1, space="features")


def reference(pool: Any, labeled: Any, cluster: Any, neighbours: int, n: int) -> list[int]:
    """Given the clusters of the pool, then of the labeled samples."""
    everything = np.concatenate([pool, labeled]) if len(labeled) else pool
    queues = []
    for c in np.unique(cluster[: len(pool)]):
        members = np.flatnonzero(cluster == c)
        typical = {}
        for i in members[members < len(pool)]:
            others = members[members != i]
            d = np.sort(np.sqrt(((everything[others] - everything[i]) ** 2).sum(1)))[:neighbours]
            typical[i] = d.mean() if len(d) else 0.0
        queue = sorted(typical, key=lambda i: (typical[i], i))
        labels = int((members >= len(pool)).sum())
        queues.append(((len(members) < 5, labels, -len(members), c), queue))
    ordered = [queue for _, queue in sorted(queues)]
    picks: list[int] = []
    for depth in range(len(pool)):
        picks += [int(queue[depth]) for queue in ordered if depth < len(queue)]
    return picks[:n]


@pytest.mark.parametrize("labeled", [(), (4, 11, 29)])
@pytest.mark.parametrize(("n", "most"), [(1, 500), (6, 500), (12, 4), (9, 500)])
def test_agrees_with_numpy(labeled: tuple[int, ...], n: int, most: int) -> None:
    context = query_context(labeled=labeled)
    selection = TypiClust(neighbours=3, max_clusters=most).sample(context, n)
    pool = context.pool.features(context.unlabeled).double()
    known = context.of_labeled(View.FEATURES).double() if labeled else pool[:0]
    wanted = min(n + len(labeled), most)
    draw = torch.Generator().manual_seed(0)
    cluster = k_means(Points(torch.cat([pool, known])), wanted, draw).nearest.numpy()
    expected = reference(pool.numpy(), known.numpy(), cluster, 3, n)
    assert selection.indices == tuple(context.unlabeled[expected].tolist())


def test_takes_the_middle_of_each_group_without_a_label() -> None:
    draw = torch.Generator().manual_seed(0)
    groups = torch.eye(4)[torch.arange(80) % 4] * 10 + torch.randn(80, 4, generator=draw) * 0.3
    groups[[1, 2, 3]] = torch.eye(4)[[1, 2, 3]] * 10  # the middle of three groups
    selection = TypiClust().sample(query_context(features=groups, labeled=(4,)), 3)
    assert sorted(selection.indices) == [1, 2, 3]


def test_small_clusters_come_last() -> None:
    """Three outliers far away are a cluster of their own, and no typical sample."""
    draw = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(37, 2, generator=draw), torch.full((3, 2), 1000.0)])
    for n, outliers in ((2, 0), (38, 1)):
        selection = TypiClust(max_clusters=2).sample(query_context(features=x, labeled=()), n)
        assert sum(index >= 37 for index in selection.indices) >= outliers
    first = TypiClust(max_clusters=2, min_size=1).sample(query_context(features=x, labeled=()), 2)
    assert sum(index >= 37 for index in first.indices) == 1


@pytest.mark.parametrize(
    "options", [{"neighbours": 0}, {"max_clusters": 0}, {"min_size": 0}, {"space": "pixels"}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        TypiClust(**options)
