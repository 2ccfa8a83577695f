from __future__ import annotations

import tracemalloc

import pytest
import torch

from querist.errors import StrategyError
from querist.strategies.query.random import Random
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Random:
        return Random()


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
