from __future__ import annotations

import torch

from querist.strategies.geometry.factors import Factors


def test_distances_are_those_of_the_outer_products() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    right = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    points = Factors(right, left)
    built = torch.einsum("nc,nd->ncd", left, right).reshape(12, -1)
    torch.testing.assert_close(points.squares(), built.square().sum(1))
    some = points.take(torch.tensor([1, 5]))
    expected = torch.cdist(built, built[[1, 5]]).square()
    torch.testing.assert_close(points.squared_distances(some), expected)
    assert len(points.join(some)) == 14
    assert points.width == 8


def test_rows_alone_are_points() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    torch.testing.assert_close(
        Factors(rows).squared_distances(Factors(rows[:1])), torch.tensor([[0.0], [8.0], [32.0]])
    )
