from __future__ import annotations

import pytest
import torch

from querist.strategies.query.box_search import climb, spread_points
from querist.testing.suite import global_randomness_untouched


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_points_fill_the_box_the_same_for_a_seed() -> None:
    with global_randomness_untouched():
        points = spread_points(3, 64, generator())
    assert points.shape == (64, 3)
    assert points.dtype == torch.float64
    for column in points.T:
        counts = torch.histc(column, bins=8, min=0, max=1)
        assert counts.tolist() == [8] * 8
    assert torch.equal(points, spread_points(3, 64, generator()))
    assert not torch.equal(points, spread_points(3, 64, generator(1)))


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_finds_a_hill_inside(d: int) -> None:
    top = torch.linspace(0.2, 0.7, d, dtype=torch.float64)
    start = torch.rand(4, d, generator=generator(), dtype=torch.float64)
    points, heights = climb(start, lambda x: -(x - top).square().sum(1), 200, generator())
    torch.testing.assert_close(points, top.expand(4, d), atol=1e-3, rtol=0)
    torch.testing.assert_close(heights, -(points - top).square().sum(1))


def test_stays_inside_and_reaches_the_edge() -> None:
    start = torch.full((2, 3), 0.5, dtype=torch.float64)
    asked: list[torch.Tensor] = []

    def slope(x: torch.Tensor) -> torch.Tensor:
        asked.append(x)
        return x[:, 0] - x[:, 2]

    points, _ = climb(start, slope, 60, generator())
    torch.testing.assert_close(points[:, 0], torch.ones(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(points[:, 2], torch.zeros(2).double(), atol=1e-6, rtol=0)
    everything = torch.cat(asked)
    assert float(everything.min()) >= 0
    assert float(everything.max()) <= 1


def test_never_gets_lower() -> None:
    start = torch.rand(6, 2, generator=generator(), dtype=torch.float64)

    def height(x: torch.Tensor) -> torch.Tensor:
        return (40 * x).sin().sum(1)

    points, heights = climb(start, height, 20, generator())
    assert bool((heights >= height(start)).all())
    assert torch.equal(heights, height(points))
    same, _ = climb(start, height, 0, generator())
    assert torch.equal(same, start)
