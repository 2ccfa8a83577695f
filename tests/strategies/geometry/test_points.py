from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.strategies.geometry import points as module
from querist.strategies.geometry.points import (
    Points,
    drawn_references,
    median_distance,
    nearest_to_the_mean,
    squared_distances,
)


@pytest.mark.parametrize("held", [module.HELD, 0], ids=["kept", "made as asked"])
@pytest.mark.parametrize(
    ("offset", "spread"), [(0.0, 1.0), (1e6, 1e-3), (0.0, 1e200), (-1e150, 1e148), (0.0, 1e-200)]
)
def test_distances_are_right_wherever_points_lie(
    offset: float, spread: float, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", held)
    x = np.random.default_rng(0).normal(size=(50, 3)) * spread + offset
    points = Points(torch.from_numpy(x))
    near = squared_distances(points.rows(0, 10), points.take(torch.arange(50))).sqrt()
    exact = np.sqrt((((x[:10, None] - x[None]) / spread) ** 2).sum(2))
    np.testing.assert_allclose(near.numpy() * (points.scale / spread), exact, rtol=1e-3, atol=2e-3)


def test_chunks_and_picks_are_the_same_points() -> None:
    points = Points(torch.randn(10, 2, generator=torch.Generator().manual_seed(0)))
    whole = points.take(torch.arange(10))
    assert torch.equal(torch.cat([rows for _, _, rows in points.chunks(3)]), whole)
    assert torch.equal(points.moved(points.values), whole)
    assert [(begin, end) for begin, end, _ in points.chunks(4)] == [(0, 4), (4, 8), (8, 10)]


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0)])
def test_hardly_any_points(shape: tuple[int, int]) -> None:
    points = Points(torch.ones(shape))
    assert points.take(torch.arange(shape[0])).shape == shape
    assert points.scale == 1.0


def test_the_samples_are_not_changed() -> None:
    values = torch.randn(10, 2)
    before = values.clone()
    Points(values).rows(0, 5).add_(1)
    assert torch.equal(values, before)


def test_the_nearest_to_the_mean_is_the_first_of_equals() -> None:
    assert nearest_to_the_mean(torch.tensor([[0.0], [4.0], [10.0], [4.0]])) == 1


@pytest.mark.parametrize("wanted", [None, 4, 9, 10])
def test_references_are_drawn_where_fewer_are_wanted(wanted: int | None) -> None:
    points = Points(torch.arange(9.0)[:, None])
    drawn = drawn_references(points, wanted, torch.Generator().manual_seed(2))
    everything = points.take(torch.arange(9))
    assert len(drawn) == len(drawn.unique()) == (4 if wanted == 4 else 9)
    assert torch.isin(drawn, everything).all()
    assert torch.equal(drawn, drawn.sort(0).values)


def test_the_median_distance_counts_all_pairs() -> None:
    """Of 0, 1, 3 (each with itself, too): 0 0 0 1 1 2 2 3 3."""
    assert median_distance(torch.tensor([[0.0], [1.0], [3.0]])) == pytest.approx(1)
    assert median_distance(torch.zeros(5, 2)) == pytest.approx(1e-6)


@pytest.mark.parametrize("held", [0, 2**31])
@pytest.mark.parametrize("size", [0, 3, 5000])
def test_more_points_are_as_if_they_lay_behind(
    held: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", held)
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(size, 3, generator=draw), 5 + torch.randn(70, 3, generator=draw)
    apart, together = Points(x, y), Points(torch.cat([x, y]))
    assert len(apart) == len(together)
    assert apart.scale == together.scale
    some = torch.randperm(len(together), generator=draw)[:50]
    assert torch.equal(apart.take(some), together.take(some))
    for (_, _, a), (_, _, b) in zip(apart.chunks(), together.chunks(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(apart.rows(size // 2, size + 9), together.rows(size // 2, size + 9))
