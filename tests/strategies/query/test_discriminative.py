from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from querist.errors import ConfigurationError
from querist.strategies.query.discriminative import Discriminative
from querist.testing import QueryStrategyContract, query_context
from querist.values import Task


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Discriminative:
        return Discriminative(steps=5)


class TestRegressionContract(QueryStrategyContract):
    uses_predictions = False
    task = Task.REGRESSION

    def make(self) -> Discriminative:
        return Discriminative(sub_batches=2, hidden=0, steps=5, examples=10, space="features")


def logits(labeled: np.ndarray, unlabeled: np.ndarray) -> np.ndarray:
    """Logistic regression of unlabeled against labeled, both of equal weight, to convergence."""
    x = np.concatenate([labeled, unlabeled])
    x = (x - x.mean(0)) / x.std(0)
    kind = np.repeat([-1.0, 1.0], [len(labeled), len(unlabeled)])
    weights = np.repeat([0.5 / len(labeled), 0.5 / len(unlabeled)], [len(labeled), len(unlabeled)])

    def loss(w: np.ndarray) -> float:
        z = kind * (x @ w[1:] + w[0])
        return float((weights * np.logaddexp(0, -z)).sum() + 0.5e-4 * (w**2).sum())

    w = minimize(loss, np.zeros(x.shape[1] + 1), tol=1e-10).x
    return np.asarray(x[len(labeled) :] @ w[1:])


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_logistic_regression(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(60, 2, generator=generator)
    context = query_context(features=features, labeled=range(15))
    x = features.double().numpy()
    scores = logits(x[:15], x[15:])
    strategy = Discriminative(sub_batches=1, hidden=0, steps=3000, space="features")
    chosen = strategy.sample(context, 6)
    assert set(chosen.indices) == {int(i) + 15 for i in np.argsort(-scores)[:6]}


def test_what_is_unlike_the_labeled_comes_first() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 2, generator=generator)
    features[40:] += torch.tensor([6.0, 0.0])
    context = query_context(features=features, labeled=range(30))
    chosen = Discriminative().sample(context, 10).indices
    assert sum(index >= 40 for index in chosen[:5]) >= 4


def test_parts_spread_the_batch() -> None:
    """Two kinds are missing among the labels: the second part turns to the other one."""
    generator = torch.Generator().manual_seed(0)
    features = 0.3 * torch.randn(90, 2, generator=generator)
    features[30:60] += torch.tensor([8.0, 0.0])
    features[60:] += torch.tensor([0.0, 6.0])
    context = query_context(features=features, labeled=range(20))
    strategy = Discriminative(sub_batches=8, hidden=0, space="features")
    chosen = strategy.sample(context, 16).indices
    assert {index // 30 for index in chosen} == {1, 2}
    with_one = Discriminative(sub_batches=1, hidden=0, space="features").sample(context, 16).indices
    kinds = [min(sum(index // 30 == kind for index in part) for kind in (1, 2))
             for part in (chosen, with_one)]  # fmt: skip
    assert kinds[0] >= kinds[1]


def test_few_examples_are_enough_to_score_all() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 2, generator=generator)
    features[150:] += torch.tensor([6.0, 0.0])
    context = query_context(features=features, labeled=range(100))
    chosen = Discriminative(examples=40).sample(context, 10).indices
    assert sum(index >= 150 for index in chosen[:5]) >= 4
    assert chosen != Discriminative().sample(context, 10).indices


def test_without_labels_the_first_part_is_random() -> None:
    seeds = [Discriminative().sample(query_context(labeled=(), seed=s), 5).indices for s in (0, 1)]
    assert seeds[0] != seeds[1]
    assert len(set(seeds[0])) == 5


@pytest.mark.parametrize(
    "options",
    [{"sub_batches": 0}, {"hidden": -1}, {"steps": 0}, {"examples": 0}, {"space": "pixels"}],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Discriminative(**options)  # type: ignore[arg-type]
