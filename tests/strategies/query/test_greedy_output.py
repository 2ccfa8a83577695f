from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.greedy_output import GreedyOutput
from querist.testing import FixedNumbers, QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    task = Task.REGRESSION

    def make(self) -> GreedyOutput:
        return GreedyOutput()


def reference(predicted: np.ndarray, labels: np.ndarray, n: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < n:
        known = np.concatenate([labels, predicted[chosen]])
        if not len(known):
            chosen.append(int(((predicted - predicted.mean(0)) ** 2).sum(1).argmin()))
            continue
        away = ((predicted[:, None] - known) ** 2).sum(2).min(1)
        away[chosen] = -1
        chosen.append(int(away.argmax()))
    return chosen


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(1, 50), labeled=st.integers(0, 5), n=st.integers(1, 20),
    width=st.integers(1, 3), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_agrees_with_all_distances(
    size: int, labeled: int, n: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn(size + labeled, width, generator=generator).double()
    targets = torch.randn(size + labeled, width, generator=generator)
    learner = FixedNumbers(lambda features: predicted[features[:, 0].long()])
    context = query_context(
        features=torch.arange(size + labeled).float()[:, None],
        targets=targets[:, 0] if width == 1 else targets,
        learner=learner,
        labeled=range(size, size + labeled),
    )
    expected = reference(predicted[:size].numpy(), targets[size:].double().numpy(), min(n, size))
    assert list(GreedyOutput().sample(context, n).indices) == expected


def test_labels_count_not_what_is_predicted_for_them() -> None:
    features = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    learner = FixedNumbers(lambda rows: rows[:, 0])
    context = query_context(
        features=features, targets=torch.tensor([9.0, 0, 0, 0]), learner=learner, labeled=[0]
    )
    assert GreedyOutput().sample(context, 3).indices == (1, 2, 3)
