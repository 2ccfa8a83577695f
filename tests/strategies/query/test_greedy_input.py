from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.query.greedy_input import GreedyInput
from querist.testing import QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    uses_predictions = False
    task = Task.REGRESSION

    def make(self) -> GreedyInput:
        return GreedyInput()


def reference(x: np.ndarray, known: np.ndarray, n: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < n:
        centres = np.concatenate([known, x[chosen]])
        if not len(centres):
            chosen.append(int(((x - x.mean(0)) ** 2).sum(1).argmin()))
            continue
        away = ((x[:, None] - centres) ** 2).sum(2).min(1)
        away[chosen] = -1
        chosen.append(int(away.argmax()))
    return chosen


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(1, 50), labeled=st.integers(0, 5), n=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_agrees_with_all_distances(size: int, labeled: int, n: int, seed: int) -> None:
    features = torch.randn(size + labeled, 3, generator=torch.Generator().manual_seed(seed))
    context = query_context(features=features, labeled=range(size, size + labeled))
    x = features.double().numpy()
    chosen = GreedyInput().sample(context, n)
    assert list(chosen.indices) == reference(x[:size], x[size:], min(n, size))


def test_space_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="space"):
        GreedyInput(space="pixels")
