from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.shared_views import SharedViews
from querist.strategies.query.greedy_both import GreedyBoth
from querist.testing import FixedNumbers, QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> GreedyBoth:
        return GreedyBoth()


class TestEmbeddingsContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> GreedyBoth:
        return GreedyBoth(space="auto")


def context_of(size: int, labeled: int, width: int, seed: int) -> QueryContext:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size + labeled, 3, generator=generator)
    targets = torch.randn(size + labeled, width, generator=generator)
    weights = torch.randn(3, width, generator=generator)
    return query_context(
        features=features,
        targets=targets[:, 0] if width == 1 else targets,
        learner=FixedNumbers(lambda rows: (rows[:, :, None] * weights).sum(1).sin()),
        labeled=range(size, size + labeled),
    )


def reference(context: QueryContext, n: int) -> list[int]:
    """All products of distances for every pick."""
    x = context.pool.features(context.unlabeled).double().numpy()
    y = context.learner.predict(context.pool.features(context.unlabeled)).double().numpy()
    known_x = context.labeled.features().double().numpy()
    known_y = context.labeled.targets.double().reshape(len(known_x), y.shape[1]).numpy()
    chosen: list[int] = []
    while len(chosen) < n:
        centres, labels = np.concatenate([known_x, x[chosen]]), np.concatenate([known_y, y[chosen]])
        if not len(centres):
            chosen.append(int(((x - x.mean(0)) ** 2).sum(1).argmin()))
            continue
        in_x = np.linalg.norm(x[:, None] - centres, axis=2)
        away = (in_x * np.linalg.norm(y[:, None] - labels, axis=2)).min(1)
        away[chosen] = -1
        chosen.append(int(away.argmax()))
    return context.unlabeled[torch.tensor(chosen)].tolist()


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(1, 50), labeled=st.integers(0, 5), n=st.integers(1, 15),
    width=st.integers(1, 2), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_agrees_with_all_products(size: int, labeled: int, n: int, width: int, seed: int) -> None:
    context = context_of(size, labeled, width, seed)
    assert list(GreedyBoth().sample(context, n).indices) == reference(context, min(n, size))


def test_picks_among_a_few_are_those_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(200, 4, 1, seed=1)
    expected = reference(context, 60)
    for hot in (1, 2, 10, 4096):
        monkeypatch.setattr("querist.strategies.query.greedy_both._HOT", hot)
        assert list(GreedyBoth().sample(context, 60).indices) == expected


def test_what_is_new_in_one_space_alone_waits() -> None:
    """Far features with the known number, and a far number at known features, are no news."""
    features = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9e-3], [2.0, 2e-3]])
    learner = FixedNumbers(lambda rows: 1e3 * rows[:, 1])
    context = query_context(
        features=features, targets=torch.zeros(4), learner=learner, labeled=[0]
    )
    assert GreedyBoth().sample(context, 1).indices == (3,)


def test_space_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="space"):
        GreedyBoth(space="pixels")


def test_the_learner_passes_the_pool_once_even_if_nothing_is_kept() -> None:
    seen: list[int] = []

    def numbers(features: torch.Tensor) -> torch.Tensor:
        seen.append(len(features))
        return features[:, 0]

    context = query_context(learner=FixedNumbers(numbers))
    GreedyBoth(space="features").sample(replace(context, shared=SharedViews(in_memory=100)), 5)
    assert sum(seen) == len(context.unlabeled)
