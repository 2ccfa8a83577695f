from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.margin import Margin
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> DBAL:
        return DBAL()


class TestContractOnFewCandidates(QueryStrategyContract):
    def make(self) -> DBAL:
        return DBAL(beta=1.5, space="features")


def blobs() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.eye(4)[torch.arange(40) % 4] * 10 + torch.randn(40, 4, generator=draw) * 0.1


def doubtful_where(x: torch.Tensor, of: torch.Tensor) -> FixedProbabilities:
    """Half and half near `of` (a mask of groups), quite sure elsewhere."""

    def probabilities(features: torch.Tensor) -> torch.Tensor:
        doubt = of[features.argmax(1)]
        sure = torch.tensor([0.99, 0.01]).expand(len(features), 2)
        return torch.where(doubt[:, None], torch.full((len(features), 2), 0.5), sure)

    return FixedProbabilities(probabilities)


def test_one_of_each_group_of_uncertain_samples() -> None:
    x = blobs()
    learner = doubtful_where(x, torch.tensor([True, False, True, True]))
    context = query_context(features=x, labeled=(), learner=learner)
    selection = DBAL(space="features").sample(context, 3)
    assert sorted(index % 4 for index in selection.indices) == [0, 2, 3]


def test_only_the_smallest_margins_are_clustered() -> None:
    x = blobs()
    learner = doubtful_where(x, torch.tensor([True, False, False, True]))
    context = query_context(features=x, labeled=(), learner=learner)
    selection = DBAL(beta=4, space="features").sample(context, 5)
    assert {index % 4 for index in selection.indices} == {0, 3}


def test_with_beta_1_it_is_margin_sampling() -> None:
    assert DBAL(beta=1).sample(query_context(), 9) == Margin().sample(query_context(), 9)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_agrees_with_a_weighted_k_means_in_numpy(n: int) -> None:
    """Picks are nearest to weighted means of their clusters, found by a plain Lloyd from them."""
    context = query_context()
    selection = DBAL(beta=4, space="features").sample(context, n)
    probabilities = context.learner.predict_proba(context.pool.features(context.unlabeled))
    ordered = np.sort(probabilities.numpy(), axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    candidates = np.argsort(margins, kind="stable")[: 4 * n]
    x = context.pool.features(context.unlabeled).double().numpy()[candidates]
    weights = 1 - margins[candidates]
    at = {int(i): p for p, i in enumerate(context.unlabeled[candidates])}
    picks = [at[i] for i in selection.indices]
    cost = ((x[:, None] - x[picks][None]) ** 2).sum(2).min(1) @ weights
    # As medoids they are about as good as the best of many plain runs.
    draw = np.random.default_rng(0)
    best = np.inf
    for _ in range(20):
        centres = x[draw.choice(len(x), n, replace=False)]
        for _ in range(50):
            near = ((x[:, None] - centres[None]) ** 2).sum(2).argmin(1)
            centres = np.stack(
                [
                    np.average(x[near == c], axis=0, weights=weights[near == c])
                    if (near == c).any()
                    else centres[c]
                    for c in range(n)
                ]
            )
        distance = ((x[:, None] - centres[None]) ** 2).sum(2)
        found = [int(distance[:, c].argmin()) for c in range(n)]
        best = min(best, ((x[:, None] - x[found][None]) ** 2).sum(2).min(1) @ weights)
    assert cost <= 1.25 * best
    assert selection.scores == tuple(sorted((-margins[candidates][p] for p in picks), reverse=True))


@pytest.mark.parametrize("options", [{"beta": 0.5}, {"beta": "ten"}, {"space": "pixels"}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DBAL(**options)
