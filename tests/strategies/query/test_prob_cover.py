from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.points import Points
from querist.strategies.query.prob_cover import ProbCover, pure_radius
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> ProbCover:
        return ProbCover()


class TestContractWithRadius(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> ProbCover:
        return ProbCover(radius=1.0, references=20, space="features")


def distances(a: Any, b: Any) -> Any:
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))


def reference(pool: Any, labeled: Any, radius: float, n: int) -> list[int]:
    """Picks until all is covered, or n."""
    edges = distances(pool, pool) <= radius
    open_to = np.ones(len(pool), dtype=bool)
    if len(labeled):
        open_to = ~(distances(labeled, pool) <= radius).any(0)
    picks: list[int] = []
    while len(picks) < n and open_to.any():
        picks.append(int((edges & open_to).sum(1).argmax()))
        open_to &= ~edges[picks[-1]]
    return picks


@pytest.mark.parametrize("labeled", [(), (4, 11, 29)])
@pytest.mark.parametrize("radius", [0.5, 1.5, 2.5])
def test_agrees_with_numpy(labeled: tuple[int, ...], radius: float) -> None:
    context = query_context(labeled=labeled)
    selection = ProbCover(radius=radius).sample(context, 12)
    pool = context.pool.features(context.unlabeled).double().numpy()
    known = context.of_labeled(View.FEATURES).double().numpy() if labeled else []
    expected = tuple(context.unlabeled[reference(pool, known, radius, 12)].tolist())
    assert selection.indices[: len(expected)] == expected
    assert len(selection) == 12


def test_the_rest_is_random_when_all_is_covered() -> None:
    picks = [ProbCover(radius=100).sample(query_context(seed=s, labeled=()), 4) for s in (0, 0, 1)]
    assert picks[0] == picks[1]
    assert picks[0].indices[0] == picks[2].indices[0] == 0
    assert picks[0].indices[1:] != picks[2].indices[1:]


@pytest.mark.parametrize("purity", [0.5, 0.8, 0.95])
def test_the_radius_is_the_largest_that_is_pure_enough(purity: float) -> None:
    points = Points(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    radius = pure_radius(points, 4, purity, torch.Generator().manual_seed(1))
    cluster = k_means(points, 4, torch.Generator().manual_seed(1)).nearest.numpy()
    x = points.take(torch.arange(200)).double().numpy()
    others = cluster[:, None] != cluster[None]

    def share_of_pure(within: float) -> float:
        return float((~((distances(x, x) <= within) & others).any(1)).mean())

    assert share_of_pure(radius) >= purity > share_of_pure(radius * 1.001)


def test_pools_of_one_kind_have_no_impure_ball() -> None:
    assert pure_radius(Points(torch.ones(9, 2)), 1, 0.95, torch.Generator()) == float("inf")


def test_takes_one_of_each_group_and_none_where_a_label_is() -> None:
    draw = torch.Generator().manual_seed(0)
    groups = torch.eye(4)[torch.arange(80) % 4] * 10 + torch.randn(80, 4, generator=draw) * 0.1
    strategy = ProbCover(clusters=4)
    selection = strategy.sample(query_context(features=groups, labeled=(4, 8)), 3)
    assert sorted(index % 4 for index in selection.indices) == [1, 2, 3]


def test_clusters_stand_for_the_labeled_classes() -> None:
    """Without the option there are as many as classes are labeled, or 10."""
    context = query_context()
    assert ProbCover().sample(context, 9) == ProbCover(clusters=2).sample(query_context(), 9)
    unknown = query_context(labeled=())
    expected = ProbCover(clusters=10).sample(query_context(labeled=()), 9)
    assert ProbCover().sample(unknown, 9) == expected
    numbers = query_context(targets=torch.rand(40))
    assert len(ProbCover().sample(numbers, 9)) == 9


@pytest.mark.parametrize(
    "options",
    [{"radius": -1}, {"purity": 2}, {"clusters": 1}, {"references": 0}, {"space": "pixels"}],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ProbCover(**options)
