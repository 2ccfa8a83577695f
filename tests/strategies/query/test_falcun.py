from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query.falcun import Falcun
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> Falcun:
        return Falcun()


def reference(p: Any, n: int) -> list[int]:
    """With the highest taken each time, which is what a large gamma comes to."""
    ordered = np.sort(p, axis=1)
    uncertainty = 1 - (ordered[:, -1] - ordered[:, -2])
    distance = uncertainty.copy()
    relevance = uncertainty + distance
    picks: list[int] = []
    for _ in range(n):
        free = relevance.copy()
        free[picks] = -1
        picks.append(int(free.argmax()))
        distance = np.minimum(distance, np.abs(p - p[picks[-1]]).sum(1))
        relevance = uncertainty + (distance - distance.min()) / (distance.max() - distance.min())
    return picks


def test_with_a_large_gamma_it_agrees_with_numpy() -> None:
    context = query_context()
    selection = Falcun(gamma=1e6).sample(context, 10)
    features = context.pool.features(context.unlabeled)
    picks = reference(context.learner.predict_proba(features).numpy(), 10)
    assert selection.indices == tuple(context.unlabeled[picks].tolist())


def test_the_first_pick_is_drawn_by_uncertainty_to_the_power() -> None:
    p = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
    learner = FixedProbabilities(lambda x: p[x[:, 0].long()])
    counts = torch.zeros(4)
    for seed in range(600):
        context = query_context(
            features=torch.arange(4.0)[:, None], learner=learner, labeled=(), seed=seed
        )
        counts[Falcun(gamma=2).sample(context, 1).indices[0]] += 1
    expected = torch.tensor([1.0, 0.64, 0.16, 0.0])
    assert torch.allclose(counts / 600, expected / expected.sum(), atol=0.06)
    assert counts[3] == 0


def test_gamma_0_draws_at_random() -> None:
    counts = torch.zeros(40)
    for seed in range(300):
        counts[list(Falcun(gamma=0).sample(query_context(seed=seed, labeled=()), 10).indices)] += 1
    assert 40 < counts.min() <= counts.max() < 110


def test_chooses_different_predictions() -> None:
    """Two groups of doubt between other classes: both are asked before one is asked twice."""
    p = torch.tensor([[0.5, 0.5, 0, 0]] * 20 + [[0, 0, 0.5, 0.5]] * 20)
    learner = FixedProbabilities(lambda x: p[x[:, 0].long()])
    for seed in range(10):
        context = query_context(
            features=torch.arange(40.0)[:, None], learner=learner, labeled=(), seed=seed
        )
        selection = Falcun(gamma=50).sample(context, 2)
        assert sorted(index // 20 for index in selection.indices) == [0, 1]


@pytest.mark.parametrize("gamma", [-1, "much"])
def test_bad_options_are_refused(gamma: Any) -> None:
    with pytest.raises(ConfigurationError, match="gamma"):
        Falcun(gamma=gamma)
