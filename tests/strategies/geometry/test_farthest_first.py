from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.geometry import farthest_first as module
from querist.strategies.geometry.farthest_first import farthest_first


def reference(points: Any, k: int, known: Any) -> tuple[list[int], list[float]]:
    nearest = np.full(len(points), np.inf)
    for center in known:
        nearest = np.minimum(nearest, np.linalg.norm(points - center, axis=1))
    picked: list[int] = []
    distances: list[float] = []
    for _ in range(min(k, len(points))):
        at = int(np.argmax(nearest))
        picked.append(at)
        distances.append(float(nearest[at]))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[at], axis=1))
        nearest[picked] = -1
    return picked, distances


def drawn(kind: str, n: int, seed: int) -> Any:
    numbers = np.random.default_rng(seed)
    if kind == "clusters":
        centers = numbers.normal(size=(5, 8)) * 5
        return centers[numbers.integers(5, size=n)] + numbers.normal(size=(n, 8))
    if kind == "a plane":
        return numbers.random((n, 2)) @ numbers.normal(size=(2, 8))
    if kind == "far from the origin":
        return numbers.normal(size=(n, 8)) + 100
    return numbers.normal(size=(n, 8))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["a cloud", "clusters", "a plane", "far from the origin"]),
    n=st.integers(1, 300),
    k=st.integers(0, 60),
    known=st.integers(0, 20),
    hot=st.sampled_from([2, 7, 64, 4096]),
    seed=st.integers(0, 2**32 - 1),
)
def test_picks_are_those_of_the_plain_way(
    kind: str, n: int, k: int, known: int, hot: int, seed: int
) -> None:
    """Few candidates at a time, so that what was left out comes within reach again."""
    points, centers = drawn(kind, n, seed), drawn(kind, known, seed + 1)
    with patch.object(module, "HOT", hot):
        picks = farthest_first(torch.from_numpy(points), k, known=torch.from_numpy(centers))
    positions, distances = reference(points, k, centers)
    assert picks.positions.tolist() == positions
    np.testing.assert_allclose(picks.distances.numpy(), distances, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("kind", ["a cloud", "clusters", "a plane"])
def test_float32_picks_differ_only_where_distances_do_not(kind: str) -> None:
    points, centers = drawn(kind, 20_000, 0), drawn(kind, 50, 1)
    picks = farthest_first(
        torch.from_numpy(points).float(), 100, known=torch.from_numpy(centers).float()
    )
    _, distances = reference(points, 100, centers)
    assert len(set(picks.positions.tolist())) == 100
    np.testing.assert_allclose(picks.distances.numpy(), distances, rtol=1e-4)


def test_of_equally_far_ones_the_lower_position_comes_first() -> None:
    points = torch.tensor([[0.0, 0], [3, 0], [0, 3], [-3, 0], [0, -3], [3, 0]])
    picks = farthest_first(points, 6, known=torch.zeros(1, 2))
    assert picks.positions.tolist() == [1, 2, 3, 4, 0, 5]


def test_points_that_are_all_alike_are_picked_in_order() -> None:
    picks = farthest_first(torch.ones(20_000, 4), 50, known=torch.zeros(1, 4))
    assert picks.positions.tolist() == list(range(50))


def test_where_nothing_is_known_the_first_is_given() -> None:
    points = torch.arange(10.0)[:, None]
    picks = farthest_first(points, 4, first=3)
    assert picks.positions.tolist() == [3, 9, 0, 6]
    assert picks.distances.tolist() == [float("inf"), 6, 3, 3]


def test_distances_to_what_else_is_known_are_kept() -> None:
    """As if the centres that they belong to had been given."""
    points, centers = (torch.from_numpy(drawn("clusters", n, n)) for n in (500, 30))
    whole = farthest_first(points, 40, known=centers)
    before = torch.cdist(points, centers[:20]).amin(1)
    parts = farthest_first(points, 40, known=centers[20:], distances=before)
    assert parts.positions.tolist() == whole.positions.tolist()
    only = farthest_first(points, 40, distances=torch.cdist(points, centers).amin(1))
    assert only.positions.tolist() == whole.positions.tolist()


def test_candidates_stay_as_they_are() -> None:
    points = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    before = points.clone()
    farthest_first(points, 5, known=points[:3])
    assert torch.equal(points, before)


@pytest.mark.parametrize("power", [-90, 70, 120])
def test_tiny_and_huge_numbers_are_picked_from_as_others(power: int) -> None:
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    plain = farthest_first(x, 20, known=x[:2])
    moved = farthest_first(x * 2.0**power, 20, known=x[:2] * 2.0**power)
    assert torch.equal(moved.positions, plain.positions)
    assert torch.equal(moved.distances, plain.distances * 2.0**power)


def test_the_first_is_not_picked_again_where_all_are_alike() -> None:
    picks = farthest_first(torch.ones(9, 2), 9, first=4)
    assert picks.positions.tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8]
