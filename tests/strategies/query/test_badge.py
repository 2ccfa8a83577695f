from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from querist.strategies.query.badge import Badge
from querist.testing import LinearSoftmax, QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Badge:
        return Badge()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(context: Any) -> Any:
    """Built, as nobody should on a large pool: `(u, c d)`."""
    errors, embeddings = context.look(context.unlabeled, View.GRADIENTS, View.EMBEDDINGS)
    return torch.einsum("nc,nd->ncd", errors, embeddings).flatten(1).numpy()


def test_the_first_has_the_largest_gradient() -> None:
    context = query_context()
    longest = int(np.linalg.norm(gradients(context), axis=1).argmax())
    assert Badge().sample(context, 1).indices == (int(context.unlabeled[longest]),)


def test_the_second_is_drawn_by_its_squared_distance_from_the_first() -> None:
    seeds = 600
    context = query_context()
    built = gradients(context)
    for view in Badge.about.needs:
        context.gather(view)  # which the contexts below share
    first = int(np.linalg.norm(built, axis=1).argmax())
    squares = ((built - built[first]) ** 2).sum(1)
    drawn = Counter(
        Badge().sample(replace(context, generator=seeded(seed)), 2).indices[1]
        for seed in range(seeds)
    )
    for index, chance in zip(context.unlabeled.tolist(), squares / squares.sum(), strict=True):
        spread = 4 * (seeds * chance * (1 - chance)) ** 0.5
        assert drawn[index] == pytest.approx(seeds * chance, abs=spread + 1)


def test_of_sure_predictions_one_is_enough() -> None:
    """Their gradients are nearly 0, and so are the distances between them."""
    features = torch.zeros(40, 4)
    features[:, 0] = 50
    features[10:15] = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)) / 10
    learner = LinearSoftmax(torch.eye(4, 3, dtype=torch.float64))
    for seed in range(10):
        context = query_context(features=features, learner=learner, labeled=(0,), seed=seed)
        assert len(set(Badge().sample(context, 6).indices) - {10, 11, 12, 13, 14}) <= 1
