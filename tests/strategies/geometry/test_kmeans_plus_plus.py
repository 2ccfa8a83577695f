from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from querist.strategies.geometry import kmeans_plus_plus as module
from querist.strategies.geometry.factors import Factors
from querist.strategies.geometry.kmeans_plus_plus import kmeans_plus_plus

RUNS = 2000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chance(points: Any, order: tuple[int, ...], known: Any) -> float:
    """Of drawing these in this order, by the definition."""
    found, centers = 1.0, list(known)
    for at in order:
        if centers:
            squares = np.min([((points - center) ** 2).sum(1) for center in centers], axis=0)
        else:
            squares = np.ones(len(points))
        found *= squares[at] / squares.sum()
        centers.append(points[at])
    return float(found)


def check(points: Factors, built: Any, known: Any = None) -> None:
    """The chances of all orders of three."""
    given = None if known is None else Factors(torch.from_numpy(known))
    generator = seeded(1)
    drawn = Counter(
        tuple(kmeans_plus_plus(points, 3, generator, known=given).tolist())
        for _ in range(RUNS)
    )
    orders = list(itertools.permutations(range(len(built)), 3))
    expected = np.array([chance(built, o, () if known is None else known) for o in orders]) * RUNS
    counts = np.array([drawn[order] for order in orders], dtype=float)
    assert counts.sum() == RUNS
    likely = expected >= 5
    observed = np.append(counts[likely], counts[~likely].sum())
    wanted = np.append(expected[likely], expected[~likely].sum())
    kept = wanted > 0
    assert chisquare(observed[kept], wanted[kept]).pvalue > 1e-3


def test_draws_have_the_chances_of_the_definition() -> None:
    rows = np.array([[0.0, 0], [0.3, 0], [2, 1], [0, 3], [1, -1]])
    check(Factors(torch.from_numpy(rows)), rows)


def test_known_points_count() -> None:
    rows = np.array([[0.0, 0], [0.3, 0], [2, 1], [0, 3], [1, -1]])
    known = np.array([[0.0, 0.1], [2, 2]])
    check(Factors(torch.from_numpy(rows)), rows, known)


def test_outer_products_are_drawn_as_if_they_were_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are renewed at every chance, by products and by lengths."""
    monkeypatch.setattr(module, "PROPOSAL", 1e12)
    numbers = np.random.default_rng(0)
    left, right = numbers.normal(size=(5, 2)), numbers.normal(size=(5, 3))
    left *= np.array([0.1, 0.2, 1, 2, 1])[:, None]
    built = np.einsum("nc,nd->ncd", left, right).reshape(5, -1)
    check(Factors(torch.from_numpy(right), torch.from_numpy(left)), built)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 700), k=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
def test_each_is_drawn_once_and_again_for_a_seed(n: int, k: int, seed: int) -> None:
    points = Factors(torch.randn(n, 4, generator=seeded(seed)))
    for longest in (False, True):
        first, again = (
            kmeans_plus_plus(points, k, seeded(seed), longest_first=longest).tolist()
            for _ in range(2)
        )
        assert first == again
        assert len(set(first)) == len(first) == min(n, k)


def test_the_longest_may_come_first() -> None:
    points = Factors(torch.tensor([[1.0], [5.0], [-7.0], [2.0]]), torch.ones(4, 1))
    assert int(kmeans_plus_plus(points, 2, seeded(0), longest_first=True)[0]) == 2


def test_each_cluster_is_drawn_from_before_one_is_drawn_from_twice() -> None:
    """2,000 points at 20 places: what lies where something is picked is not drawn."""
    places = torch.randn(20, 6, generator=seeded(0), dtype=torch.float64) * 100
    points = Factors(places[torch.arange(2000) % 20])
    picks = kmeans_plus_plus(points, 20, seeded(1))
    assert sorted((picks % 20).tolist()) == list(range(20))


def test_where_all_points_are_alike_the_rest_is_drawn_uniformly() -> None:
    picks = kmeans_plus_plus(Factors(torch.zeros(30, 2), torch.zeros(30, 2)), 7, seeded(0))
    assert len(set(picks.tolist())) == 7


@pytest.mark.parametrize("power", [-90, 70, 120])
def test_tiny_and_huge_numbers_are_drawn_as_others(power: int) -> None:
    generator = seeded(0)
    x, left = torch.randn(300, 4, generator=generator), torch.randn(300, 3, generator=generator)
    for other in (None, left):
        plain, moved = Factors(x, other), Factors(x * 2.0**power, other)
        for known in (False, True):
            picks = [
                kmeans_plus_plus(
                    points, 20, seeded(1), known=points.take(slice(0, 2)) if known else None
                ).tolist()
                for points in (plain, moved)
            ]
            assert picks[0] == picks[1]


def test_double_precision_may_be_as_large_as_it_gets() -> None:
    x = torch.randn(50, 4, dtype=torch.float64, generator=seeded(0))
    huge = Factors(x * 2.0**996, x)
    picks = kmeans_plus_plus(huge, 9, seeded(1), longest_first=True)
    assert torch.equal(picks, kmeans_plus_plus(Factors(x, x), 9, seeded(1), longest_first=True))
