from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.bait import Bait
from querist.testing import LinearSoftmax, QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Bait:
        return Bait()


class TestReducedContract(QueryStrategyContract):
    def make(self) -> Bait:
        return Bait(dimensions=2, candidates=20, oversample=1.5, space="features")


def context_of(classes: int, seed: int) -> QueryContext:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(14, 3, generator=generator)
    learner = LinearSoftmax(torch.randn(3, classes, generator=generator).double())
    targets = torch.arange(14) % classes
    return query_context(features=features, learner=learner, targets=targets, labeled=(2, 5))


def information(p: np.ndarray, h: np.ndarray) -> np.ndarray:
    if len(p) == 2:
        return p[0] * p[1] * np.outer(h, h)
    return np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h))


def reference(context: QueryContext, n: int, oversample: float) -> list[int]:
    """Inverts M anew for every candidate."""

    def all_of(indices: torch.Tensor) -> list[np.ndarray]:
        proba = context.of(indices, View.PROBABILITIES).numpy()
        h = context.of(indices, View.EMBEDDINGS).numpy()
        return [information(*row) for row in zip(proba, h, strict=True)]

    pool = all_of(context.unlabeled)
    fisher = sum(pool)
    m = np.eye(len(pool[0])) + sum(all_of(context.labeled.indices))

    def trace(matrix: np.ndarray) -> float:
        return float(np.trace(np.linalg.inv(matrix) @ fisher))

    taken: list[int] = []
    while len(taken) < min(round(oversample * n), len(pool)):
        free = [i for i in range(len(pool)) if i not in taken]
        best = min(free, key=lambda i: trace(m + pool[i]))
        taken.append(best)
        m = m + pool[best]
    while len(taken) > n:
        least = min(taken, key=lambda i: trace(m - pool[i]))
        taken.remove(least)
        m = m - pool[least]
    return context.unlabeled[torch.tensor(taken)].tolist()


@settings(deadline=None, max_examples=25)
@given(
    classes=st.integers(2, 4), n=st.integers(1, 6), oversample=st.sampled_from([1.0, 2.0]),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_agrees_with_inverting_anew(classes: int, n: int, oversample: float, seed: int) -> None:
    context = context_of(classes, seed)
    chosen = Bait(oversample=oversample).sample(context, n)
    assert list(chosen.indices) == reference(context, n, oversample)


def test_takes_what_stands_for_most_of_the_pool() -> None:
    """Of a lone sample far out and one of a crowd, it takes the crowd's: F is the pool's."""
    crowd = torch.tensor([[1.0, 0.0]]).repeat(30, 1)
    features = torch.cat([crowd, torch.tensor([[0.0, 1.5]])])
    learner = LinearSoftmax(torch.zeros(2, 2).double())
    targets = torch.arange(31) % 2
    context = query_context(features=features, learner=learner, targets=targets, labeled=())
    assert Bait().sample(context, 1).indices[0] < 30
    assert 30 in Bait(ridge=1e-3).sample(context, 2).indices


def test_certain_samples_tell_nothing() -> None:
    features = torch.tensor([[50.0], [1.0], [-40.0], [-0.5]])
    learner = LinearSoftmax(torch.tensor([[1.0, -1.0]]).double())
    targets = torch.tensor([0, 0, 1, 1])
    context = query_context(features=features, learner=learner, targets=targets, labeled=())
    assert sorted(Bait().sample(context, 2).indices) == [1, 3]


def test_too_many_weights_are_refused_with_what_to_do() -> None:
    features = torch.randn(20, 2000, generator=torch.Generator().manual_seed(0))
    learner = LinearSoftmax(torch.randn(2000, 3).double())
    context = query_context(features=features, learner=learner, labeled=(0,))
    with pytest.raises(StrategyError, match="are 6,000: set dimensions to 1365 or less"):
        Bait().sample(context, 2)
    assert len(Bait(dimensions=5).sample(context, 2)) == 2


def test_too_many_candidates_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.strategies.query.bait.MOST_NUMBERS", 500)
    with pytest.raises(StrategyError, match="31 numbers of each candidate.*candidates to 16 or"):
        Bait().sample(query_context(), 2)
    assert len(Bait(candidates=16).sample(query_context(), 2)) == 2


@pytest.mark.parametrize(
    "options",
    [{"oversample": 0.5}, {"ridge": 0.0}, {"candidates": 0}, {"dimensions": 0}, {"space": "x"}],
)
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Bait(**options)  # type: ignore[arg-type]


def test_candidates_are_at_least_as_many_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.strategies.query.bait.MOST_NUMBERS", 500)
    with pytest.raises(StrategyError, match="those of 20 candidates.*ask for no more samples"):
        Bait(candidates=16).sample(query_context(), 20)


@pytest.mark.parametrize("labeled", [(), (4, 11, 29)])
def test_features_too_large_to_invert_are_refused(labeled: tuple[int, ...]) -> None:
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(7))
    learner = LinearSoftmax(torch.ones(4, 3).double() * torch.arange(3) / 1e36)
    context = query_context(features=features * 1e36, learner=learner, labeled=labeled)
    with pytest.raises(StrategyError, match="ridge of 1: scale them"):
        Bait().sample(context, 5)
