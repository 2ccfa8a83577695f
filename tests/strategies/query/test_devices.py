"""What a learner on a GPU says lies there: every strategy takes it from there."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import querist.strategies  # noqa: F401 - which registers them
from querist.protocols import QueryStrategy
from querist.registry import components, find
from querist.testing import DrawnNumbers, DrawnSoftmax, LinearLabels, query_context
from querist.values import Selection, Task
from querist.views import View, needs_of

OPTIONS: dict[str, dict[str, Any]] = {
    "cost_aware": {"strategy": "margin", "class_costs": [1.0, 2.0, 3.0]},
    "mixture": {"parts": [{"name": "margin", "share": 0.5}, {"name": "badge", "share": 0.5}]},
    "neighbours_of_labeled": {"strategy": "margin", "k": 12},
    "sequence": {"stages": [{"name": "margin", "keep_times": 2}, {"name": "k_center"}]},
    "subsample": {"strategy": "margin", "size": 20},
    "switch": {"stages": [{"name": "random", "until_labels": 2}, {"name": "margin"}]},
}
"""Of strategies that need some."""

OTHERS = {"callable", "command", "generated"}
"""What they choose is not theirs to say."""

SCORES = {
    "bald",
    "committee_variance",
    "consensus_kl",
    "cost_aware",
    "density_weighted",
    "entropy",
    "expected_gradient_length",
    "least_confidence",
    "margin",
    "predictive_variance",
    "random",
    "subsample",
    "switch",
    "variation_ratios",
}
"""They order samples by a number in double precision, which a GPU rounds nearly alike."""

OWN = sorted(
    found.name
    for found in components("query")
    if found.factory.__module__.startswith("querist.strategies.") and found.name not in OTHERS
)
FEATURES = torch.randn(60, 4, generator=torch.Generator().manual_seed(7))


class Away:
    """A learner whose answers lie on another device."""

    def __init__(self, learner: Any, device: torch.device) -> None:
        self.learner, self.device = learner, device
        self.task, self.views = learner.task, learner.views

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(said.to(self.device) for said in self.learner.look(views, features))

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        return self._moved(self.learner.predict_proba(features))

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        return self._moved(self.learner.predict(features))

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        return self._moved(self.learner.predict_proba_samples(features))

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        return self._moved(self.learner.predict_samples(features))

    def _moved(self, said: torch.Tensor) -> torch.Tensor:
        return said.to(self.device)


def member(task: Task, seed: int) -> Any:
    weights = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(seed)).double()
    if task is Task.REGRESSION:
        return DrawnNumbers(weights[:, :, 0])
    return LinearLabels(weights[0]) if task is Task.MULTILABEL else DrawnSoftmax(weights)


def task_of(strategy: QueryStrategy) -> Task:
    needs = set(needs_of(strategy))
    if needs & {View.NUMBERS, View.NUMBER_SAMPLES, View.VARIANCES}:
        return Task.REGRESSION
    return Task.MULTILABEL if View.LABEL_PROBABILITIES in needs else Task.CLASSIFICATION


def options_of(name: str) -> list[dict[str, Any]]:
    """By the learner's embeddings, and by features, which lie where the pool is."""
    options = OPTIONS.get(name, {})
    if "space" not in inspect.signature(find("query", name)).parameters:
        return [options]
    return [options, {**options, "space": "features"}]


def sample(name: str, options: dict[str, Any], device: torch.device) -> Selection:
    strategy = find("query", name)(**options)
    task = task_of(strategy)
    learner, *others = (Away(member(task, seed), device) for seed in (3, 6, 9))
    wanted = getattr(strategy, "wants_committee", False)
    context = query_context(features=FEATURES, learner=learner, committee=others if wanted else ())
    found: Selection = strategy.sample(context, 8)
    chosen = set(found.indices)
    assert len(chosen) == len(found) == 8
    assert chosen <= set(context.unlabeled.tolist())
    return found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU is here")
@pytest.mark.parametrize("name", OWN)
def test_answers_may_lie_on_a_gpu(name: str) -> None:
    for options in options_of(name):
        found = sample(name, options, torch.device("cuda"))
        if name in SCORES:
            assert found.indices == sample(name, options, torch.device("cpu")).indices


def test_all_own_strategies_are_tried() -> None:
    assert set(OWN) >= SCORES
    assert len(OWN) > 40
    for name in OWN:
        for options in options_of(name):
            sample(name, options, torch.device("cpu"))
