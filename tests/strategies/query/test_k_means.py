from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.points import Points
from querist.strategies.query.k_means import KMeans
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KMeans:
        return KMeans()


def test_one_of_each_group_the_largest_first() -> None:
    draw = torch.Generator().manual_seed(0)
    group = torch.tensor([0] * 10 + [1] * 20 + [2] * 4 + [3] * 6)
    x = torch.eye(4)[group] * 10 + torch.randn(40, 4, generator=draw) * 0.1
    selection = KMeans().sample(query_context(features=x, labeled=()), 4)
    assert group[list(selection.indices)].tolist() == [1, 0, 3, 2]
    for index in selection.indices:
        mine = x[group == group[index]]
        nearest = (mine - mine.mean(0)).norm(dim=1).argmin()
        assert torch.equal(mine[nearest], x[index])


@pytest.mark.parametrize("n", [2, 4, 7])
def test_agrees_with_numpy(n: int) -> None:
    context = query_context()
    selection = KMeans(space="features").sample(context, n)
    points = Points(context.pool.features(context.unlabeled))
    clusters = k_means(points, n, torch.Generator().manual_seed(0))
    x, centres = points.values.double().numpy(), clusters.centres.double().numpy()
    own = clusters.nearest.numpy()
    moved = points.moved(points.values).double().numpy()
    expected = set()
    for c in range(n):
        members = np.flatnonzero(own == c)
        expected.add(int(members[((moved[members] - centres[c]) ** 2).sum(1).argmin()]))
    assert len(x) == 37
    assert set(selection.indices) == set(context.unlabeled[sorted(expected)].tolist())


def test_another_space_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="space"):
        KMeans(space="pixels")
