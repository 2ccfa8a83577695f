from __future__ import annotations

import pytest
import torch

from querist.strategies.geometry.centers import COLUMNS, Centers


def points(kind: str, n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, 24, generator=generator)
    if kind == "far from the origin":
        return drawn + 50
    if kind == "of very different length":
        return drawn * torch.logspace(-6, 3, n)[:, None]
    if kind == "nearly the same":
        return torch.ones(n, 24) + drawn * 1e-4
    return drawn


KINDS = ["drawn", "far from the origin", "of very different length", "nearly the same"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coarse", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("centers", [1, 7, COLUMNS + 5])
def test_a_bound_is_never_below_the_distance(
    kind: str, coarse: torch.dtype, centers: int
) -> None:
    rows, known = points(kind, 300, 0), points(kind, centers, 1)
    true = torch.cdist(rows.double(), known.double()).amin(1).square()
    found = Centers.of(known, coarse=coarse)
    squares = rows.square().sum(1)
    bounds = found.bounds(rows, squares)
    assert bool((bounds.double() >= true).all())
    scale = float(squares.max() + known.square().sum(1).max())
    torch.testing.assert_close(
        found.distances(rows, squares).double(), true, rtol=1e-4, atol=2e-6 * scale
    )


def test_a_bound_is_close_where_rows_are_alike_in_length() -> None:
    rows, known = points("drawn", 300, 0), points("drawn", 50, 1)
    squares = rows.square().sum(1)
    found = Centers.of(known, coarse=torch.bfloat16)
    away = found.bounds(rows, squares) - found.distances(rows, squares)
    assert float(away.max()) < 0.05 * float(squares.mean())
