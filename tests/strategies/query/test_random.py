from __future__ import annotations

import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StrategyError
from querist.strategies.query.random import Random, distinct_positions
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Random:
        return Random()


@settings(deadline=None)
@given(size=st.integers(0, 3000), share=st.floats(0, 1), seed=st.integers(0, 2**62))
def test_positions_are_different_and_in_range(size: int, share: float, seed: int) -> None:
    n = int(size * share)
    drawn = distinct_positions(size, n, torch.Generator().manual_seed(seed))
    assert drawn.shape == (n,)
    assert len(drawn.unique()) == n
    assert n == 0 or (int(drawn.min()) >= 0 and int(drawn.max()) < size)


@pytest.mark.parametrize("n", [2, 10], ids=["drawn one by one", "shuffled"])
def test_every_sample_is_as_likely_in_every_place(n: int) -> None:
    size, rounds = 20, 4000
    counts = torch.zeros(n, size)
    generator = torch.Generator().manual_seed(1)
    for _ in range(rounds):
        counts[torch.arange(n), distinct_positions(size, n, generator)] += 1
    expected = rounds / size
    chi_square = ((counts - expected) ** 2 / expected).sum(1)
    # 99.99 % quantile of chi-square with 19 degrees of freedom; the seed is fixed.
    assert float(chi_square.max()) < 50.8


def test_another_seed_draws_others() -> None:
    draws = {Random().sample(query_context(seed=seed), 5).indices for seed in range(5)}
    assert len(draws) == 5


def test_the_model_is_not_asked() -> None:
    class Silent:
        task = "classification"

    context = query_context(learner=Silent())  # type: ignore[arg-type]
    assert Random().sample(context, 2).scores == (0.0, 0.0)


def test_no_python_object_per_sample_of_the_pool() -> None:
    context = query_context(unlabeled=torch.arange(2_000_000))
    tracemalloc.start()
    Random().sample(context, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"chooses 0 samples or more, not -1"):
        Random().sample(query_context(), -1)
