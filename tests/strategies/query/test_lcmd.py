from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.geometry.points import Points
from querist.strategies.query.lcmd import Lcmd
from querist.testing import QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Lcmd:
        return Lcmd()


class TestRegressionContract(QueryStrategyContract):
    uses_predictions = False
    task = Task.REGRESSION

    def make(self) -> Lcmd:
        return Lcmd(labeled=False, space="features")


def reference(x: np.ndarray, centres: np.ndarray, n: int) -> list[int]:
    """All distances from all points to all centres, for every pick."""
    chosen: list[int] = []
    while len(chosen) < n:
        known = np.concatenate([centres, x[chosen]])
        if not len(known):
            chosen.append(int((x**2).sum(1).argmax()))
            continue
        squared = ((x[:, None] - known) ** 2).sum(2)
        squared[chosen] = np.inf
        owner, left = squared.argmin(1), squared.min(1)
        left[chosen] = 0
        sums = [left[owner == c].sum() for c in range(len(known))]
        chosen.append(int(np.where(owner == np.argmax(sums), left, -1).argmax()))
    return chosen


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(2, 60), labeled=st.integers(0, 8), width=st.integers(1, 5),
    seed=st.integers(0, 10**6), data=st.data(),
)  # fmt: skip
def test_agrees_with_all_distances(
    size: int, labeled: int, width: int, seed: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, size))
    features = torch.randn(size + labeled, width, generator=torch.Generator().manual_seed(seed))
    context = query_context(features=features, labeled=range(size, size + labeled))
    x = features.double().numpy()
    chosen = Lcmd(space="features").sample(context, n)
    assert list(chosen.indices) == reference(x[:size], x[size:], n)


def test_far_clusters_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tight clusters: picks are those of the reference, by a part of the distances."""
    generator = torch.Generator().manual_seed(0)
    middles = 1000 * torch.randn(20, 6, generator=generator)
    features = middles.repeat_interleave(30, 0) + torch.randn(600, 6, generator=generator)
    known = list(range(0, 600, 30))
    context = query_context(features=features, labeled=known)
    looked_at = []
    take = Points.take

    def counted(self: Points, positions: torch.Tensor) -> torch.Tensor:
        looked_at.append(len(positions))
        return take(self, positions)

    monkeypatch.setattr(Points, "take", counted)
    chosen = Lcmd(space="features").sample(context, 40)
    x = features.double().numpy()
    expected = reference(x[context.unlabeled.numpy()], x[known], 40)
    assert list(chosen.indices) == context.unlabeled[torch.tensor(expected)].tolist()
    assert sum(looked_at) < 40 * 60


def test_a_crowd_goes_before_an_outlier() -> None:
    """Farthest-first would take the outlier; most is left in the crowd."""
    crowd = torch.tensor([[5.0, 0.0]]) + 0.1 * torch.arange(30)[:, None] * torch.tensor([0.0, 0.1])
    others = torch.tensor([[0.0, 0.0], [-20.0, 0.0], [-28.0, 0.0]])
    features = torch.cat([others[:2], crowd, others[2:]])
    context = query_context(features=features, labeled=(0, 1))
    chosen = Lcmd(space="features").sample(context, 2).indices
    assert 2 <= chosen[0] < 32
    assert chosen[1] == 32


@pytest.mark.parametrize("options", [{"labeled": 1}, {"space": "pixels"}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Lcmd(**options)  # type: ignore[arg-type]
