from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.query.k_medoids import KMedoids, medoids
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KMedoids:
        return KMedoids()


class TestContractOnFewCandidates(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> KMedoids:
        return KMedoids(candidates=12, passes=2, space="features")


def cost(distances: Any, chosen: Any, fixed: Any) -> float:
    return float(np.minimum(distances[list(chosen)].min(0), fixed).sum())


@settings(deadline=None, max_examples=25)
@given(
    m=st.integers(5, 30),
    k=st.integers(1, 4),
    labeled=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_swap_makes_them_better(m: int, k: int, labeled: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(m, 3))
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    fixed = np.abs(draw.normal(size=m)) * 2 if labeled else np.full(m, np.inf)
    given = torch.from_numpy(fixed).float() if labeled else None
    found = medoids(torch.from_numpy(distances).float(), k, given, passes=50).tolist()
    assert len(set(found)) == k
    mine = cost(distances, found, fixed)
    for out in range(k):
        for other in range(m):
            swapped = [other if place == out else one for place, one in enumerate(found)]
            assert cost(distances, swapped, fixed) >= mine * (1 - 1e-5)
    best = min(cost(distances, chosen, fixed) for chosen in combinations(range(m), min(k, 2)))
    if k <= 2:
        assert mine <= best * 1.15


def test_swaps_leave_the_greedy_choice() -> None:
    """Greedily the middle comes first; two medoids are better off without it."""
    x = torch.tensor([-10.0, -10.1, -9.9, 0.0, 9.9, 10.0, 10.1])
    distances = (x[:, None] - x).abs()
    assert 3 in medoids(distances, 2, passes=0).tolist()
    assert sorted(x[medoids(distances, 2)].sign().tolist()) == [-1, 1]


@pytest.mark.parametrize("n", [1, 4, 12])
def test_the_strategy_finds_the_medoids_of_the_pool(n: int) -> None:
    context = query_context()
    selection = KMedoids(passes=50).sample(context, n)
    pool = context.pool.features(context.unlabeled).double().numpy()
    known = context.of_labeled(View.FEATURES).double().numpy()
    distances = np.sqrt(((pool[:, None] - pool[None]) ** 2).sum(2))
    fixed = np.sqrt(((pool[:, None] - known[None]) ** 2).sum(2)).min(1)
    at = torch.searchsorted(context.unlabeled, torch.tensor(selection.indices)).tolist()
    mine = cost(distances, at, fixed)
    for out in range(n):
        for other in range(len(pool)):
            swapped = [other if place == out else one for place, one in enumerate(at)]
            assert cost(distances, swapped, fixed) >= mine * (1 - 1e-5)


def test_takes_one_of_each_group_and_none_where_a_label_is() -> None:
    draw = torch.Generator().manual_seed(0)
    groups = torch.eye(4)[torch.arange(40) % 4] * 10 + torch.randn(40, 4, generator=draw) * 0.1
    selection = KMedoids().sample(query_context(features=groups, labeled=(4, 8)), 3)
    assert sorted(index % 4 for index in selection.indices) == [1, 2, 3]


def test_more_than_the_candidates_are_drawn() -> None:
    draws = {KMedoids(candidates=5).sample(query_context(seed=s), 9).indices for s in range(4)}
    assert len(draws) == 4


@pytest.mark.parametrize("options", [{"candidates": 0}, {"passes": -1}, {"space": "pixels"}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        KMedoids(**options)
