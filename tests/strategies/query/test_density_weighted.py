from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query.density_weighted import DensityWeighted
from querist.strategies.query.entropy import Entropy
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> DensityWeighted:
        return DensityWeighted()


class TestContractByMargin(QueryStrategyContract):
    def make(self) -> DensityWeighted:
        return DensityWeighted(beta=0.5, score="margin", space="features")


class TestContractOfDraws(QueryStrategyContract):
    def make(self) -> DensityWeighted:
        return DensityWeighted(batch="softmax", coldness=3)


def uncertainty(p: Any, score: str) -> Any:
    ordered = np.sort(p, axis=1)
    if score == "entropy":
        return -(p * np.log(p)).sum(1)
    if score == "margin":
        return 1 - (ordered[:, -1] - ordered[:, -2])
    return 1 - ordered[:, -1]


@pytest.mark.parametrize("score", ["entropy", "least_confidence", "margin"])
@pytest.mark.parametrize("beta", [0, 0.5, 2])
def test_agrees_with_numpy(score: str, beta: float) -> None:
    context = query_context()
    selection = DensityWeighted(beta=beta, score=score).sample(context, 9)
    features = context.pool.features(context.unlabeled)
    x = features.double().numpy()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = np.array([np.mean([a @ b for b in unit]) for a in unit]).clip(0)
    scores = uncertainty(context.learner.predict_proba(features).numpy(), score) * similarity**beta
    order = np.argsort(-scores, kind="stable")[:9]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-6, atol=1e-12)


def test_without_density_it_is_the_uncertainty() -> None:
    plain = Entropy().sample(query_context(), 8).indices
    assert DensityWeighted(beta=0).sample(query_context(), 8).indices == plain


def test_outliers_are_left_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.tensor([1.0, 0]) + torch.randn(40, 2, generator=draw) * 0.1
    x[7] = torch.tensor([-5.0, 1])

    def probabilities(features: torch.Tensor) -> torch.Tensor:
        odd = features[:, :1] < 0
        return torch.where(odd, torch.tensor([0.5, 0.5]), torch.tensor([0.6, 0.4]))

    learner = FixedProbabilities(probabilities)
    context = query_context(features=x, labeled=(), learner=learner)
    assert 7 in Entropy().sample(context, 1).indices
    assert 7 not in DensityWeighted(space="features").sample(context, 39).indices


def test_samples_at_the_origin_are_like_nothing() -> None:
    x = torch.ones(40, 2)
    x[5] = 0
    context = query_context(features=x, labeled=())
    assert 5 not in DensityWeighted(space="features").sample(context, 39).indices


@pytest.mark.parametrize("options", [{"beta": -1}, {"score": "random"}, {"space": "pixels"}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DensityWeighted(**options)
