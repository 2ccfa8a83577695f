from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.geometry.kmeans import (
    Clusters,
    k_means,
    nearest_centre,
    nearest_to_centres,
    seeds,
)
from querist.strategies.geometry.points import Points


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(centres: int, each: int, width: int = 4, spread: float = 0.05) -> torch.Tensor:
    middle = torch.randn(centres, width, generator=generator(1)) * 5
    noise = torch.randn(centres * each, width, generator=generator(2)) * spread
    return middle.repeat_interleave(each, 0) + noise


@pytest.mark.parametrize("seed", range(5))
def test_finds_clusters_that_are_there(seed: int) -> None:
    clusters = k_means(Points(blobs(8, 30)), 8, generator(seed))
    assert clusters.sizes().tolist() == [30] * 8
    assert len({int(c) for c in clusters.nearest[::30]}) == 8


def test_is_the_same_for_a_seed() -> None:
    points = Points(torch.randn(300, 3, generator=generator()))
    first, again = (k_means(points, 9, generator(4)) for _ in range(2))
    assert torch.equal(first.centres, again.centres)
    assert torch.equal(first.nearest, again.nearest)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 80), k=st.integers(1, 20), seed=st.integers(0, 1000))
def test_each_point_belongs_to_the_nearest_centre(n: int, k: int, seed: int) -> None:
    x = torch.randn(n, 3, generator=generator(seed))
    points = Points(x)
    clusters = k_means(points, k, generator(seed))
    assert len(clusters.centres) == min(k, n)
    all_points = points.take(torch.arange(n)).double().numpy()
    exact = ((all_points[:, None] - clusters.centres.double().numpy()[None]) ** 2).sum(2)
    np.testing.assert_allclose(clusters.squared.numpy(), exact.min(1), atol=1e-5)
    chosen = exact[np.arange(n), clusters.nearest.numpy()]
    np.testing.assert_allclose(chosen, exact.min(1), atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_centres_are_weighted_means_as_in_a_plain_lloyd(seed: int) -> None:
    """From the same seeds, numpy in float64 comes to the same sum of squares."""
    x = torch.randn(200, 3, generator=generator(seed))
    w = torch.rand(200, generator=generator(seed + 10))
    points = Points(x)
    clusters = k_means(points, 6, generator(seed), w)
    rows = points.take(torch.arange(200))
    centres = rows[seeds(rows, 6, generator(seed), w / w.max())].double().numpy()
    data, weights = rows.double().numpy(), w.double().numpy()
    for _ in range(200):
        near = ((data[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        for c in range(6):
            mine = near == c
            centres[c] = (data[mine] * weights[mine, None]).sum(0) / weights[mine].sum()
    cost = ((data[:, None] - centres[None]) ** 2).sum(2).min(1) @ weights
    assert float(clusters.squared.double() @ w.double()) == pytest.approx(cost, rel=0.02)


def test_as_good_as_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    x = torch.randn(600, 5, generator=generator(3))
    points = Points(x)
    mine = [float(k_means(points, 12, generator(s)).squared.sum()) for s in range(5)]
    theirs = [KMeans(12, n_init=1, random_state=s).fit(x.numpy()).inertia_ for s in range(5)]
    assert np.mean(mine) * points.scale**2 == pytest.approx(np.mean(theirs), rel=0.03)


def test_points_without_weight_draw_no_centre() -> None:
    x = torch.cat([torch.zeros(10, 2), torch.ones(10, 2) * 100])
    w = torch.cat([torch.ones(10), torch.zeros(10)])
    clusters = k_means(Points(x), 1, generator(), w)
    assert torch.allclose(clusters.centres[0], Points(x).rows(0, 1)[0])


@pytest.mark.parametrize("weights", [None, torch.zeros(12)])
def test_points_that_are_all_alike(weights: torch.Tensor | None) -> None:
    clusters = k_means(Points(torch.ones(12, 2)), 5, generator(), weights)
    assert clusters.centres.isfinite().all()
    assert clusters.squared.tolist() == [0.0] * 12


def test_empty_clusters_begin_anew() -> None:
    """Three of four seeds fall onto two heavy places; the light ones get centres all the same."""
    places = torch.tensor([[0.0, 0], [1, 0], [5, 5], [9, 9]])
    x = places.repeat_interleave(torch.tensor([50, 50, 1, 1]), 0)
    clusters = k_means(Points(x), 4, generator())
    assert float(clusters.squared.max()) < 1e-6


def test_many_points_are_clustered_by_some() -> None:
    x = blobs(5, 400)
    clusters = k_means(Points(x), 5, generator(), per_centre=20)
    assert clusters.sizes().tolist() == [400] * 5


def test_seeds_are_different_places() -> None:
    x = blobs(6, 20)
    at = seeds(x, 6, generator(), torch.ones(len(x)))
    assert sorted((at // 20).tolist()) == list(range(6))
    assert len(set(seeds(torch.ones(9, 2), 9, generator(), torch.ones(9)).tolist())) == 9


def test_of_equally_near_centres_the_first() -> None:
    at, squared = nearest_centre(torch.zeros(3, 2), torch.tensor([[2.0, 0], [1, 0], [0, 1]]))
    assert at.tolist() == [1, 1, 1]
    assert squared.tolist() == [1.0, 1.0, 1.0]


def test_closest_of_each_cluster() -> None:
    clusters = Clusters(
        torch.zeros(4, 1), torch.tensor([2, 0, 2, 0, 3]), torch.tensor([0.5, 0.2, 0.5, 0.1, 9.0])
    )
    assert clusters.closest().tolist() == [3, 0, 4]
    assert clusters.sizes().tolist() == [2, 0, 2, 1]


def test_the_farthest_make_up_for_empty_clusters() -> None:
    squared = torch.tensor([0.1, 0.3, 0.2, 0.5])
    clusters = Clusters(torch.zeros(3, 1), torch.tensor([1, 1, 1, 1]), squared)
    assert nearest_to_centres(clusters, 3).tolist() == [0, 3, 1]
