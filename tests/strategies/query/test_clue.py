from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.shared_views import SharedViews
from querist.strategies.query.clue import Clue, tempered
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> Clue:
        return Clue()


class TestTemperedContract(QueryStrategyContract):
    def make(self) -> Clue:
        return Clue(temperature=0.1, space="features")


def blobs(unsure: list[int], seed: int = 0) -> tuple[torch.Tensor, FixedProbabilities]:
    """Four far blobs of 20 samples; the learner is unsure in those of `unsure` alone."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    features = middles.repeat_interleave(20, 0) + torch.randn(80, 2, generator=generator)

    def predict(rows: torch.Tensor) -> torch.Tensor:
        blob = (rows[:, 0] > 50).long() + 2 * (rows[:, 1] > 50).long()
        half = torch.isin(blob, torch.tensor(unsure))
        first = torch.where(half, 0.5, 1.0).double()
        return torch.stack([first, 1 - first], dim=1)

    return features, FixedProbabilities(predict)


def reference(points: np.ndarray, weights: np.ndarray, clusters: list[list[int]]) -> list[int]:
    """Of clusters that are known, what is nearest to their weighted means."""
    found = []
    for cluster in clusters:
        rows, w = points[cluster], weights[cluster]
        middle = (rows * w[:, None]).sum(0) / w.sum()
        found.append(cluster[int(((rows - middle) ** 2).sum(1).argmin())])
    return found


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_weighted_means_of_the_blobs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, _ = blobs([])
    proba = torch.rand(80, 3, generator=generator).double()
    proba = proba / proba.sum(1, keepdim=True)
    rows = {tuple(row): p for row, p in zip(features.tolist(), proba, strict=True)}
    learner = FixedProbabilities(lambda f: torch.stack([rows[tuple(row)] for row in f.tolist()]))
    context = query_context(features=features, learner=learner, labeled=())
    p = proba.numpy()
    blobs_of = [list(range(b, b + 20)) for b in range(0, 80, 20)]
    expected = reference(features.double().numpy(), -(p * np.log(p)).sum(1), blobs_of)
    chosen = Clue(temperature=1.0, space="features").sample(context, 4)
    assert sorted(chosen.indices) == sorted(expected)


def test_clusters_are_where_the_learner_is_unsure() -> None:
    features, learner = blobs(unsure=[1, 2])
    context = query_context(features=features, learner=learner, labeled=())
    chosen = Clue(space="features").sample(context, 4).indices
    assert {index // 20 for index in chosen[:2]} <= {1, 2}
    assert sum(index // 20 in (1, 2) for index in chosen) >= 3


def test_a_learner_that_is_sure_of_all_leaves_plain_clusters() -> None:
    features, learner = blobs(unsure=[])
    context = query_context(features=features, learner=learner, labeled=())
    chosen = Clue(space="features").sample(context, 4).indices
    assert {index // 20 for index in chosen} == {0, 1, 2, 3}


def test_temperature_is_that_of_the_logits() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]]).double()
    expected = (logits / 0.3).softmax(1)
    torch.testing.assert_close(tempered(logits.softmax(1), 0.3), expected)
    torch.testing.assert_close(tempered(logits.softmax(1), 1), logits.softmax(1))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"space": "pixels"}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Clue(**options)  # type: ignore[arg-type]


def test_the_learner_passes_the_pool_once_even_if_nothing_is_kept() -> None:
    seen: list[int] = []

    def probabilities(features: torch.Tensor) -> torch.Tensor:
        seen.append(len(features))
        return features[:, :3].softmax(1)

    context = query_context(learner=FixedProbabilities(probabilities))
    Clue(space="features").sample(replace(context, shared=SharedViews(in_memory=100)), 5)
    assert sum(seen) == len(context.unlabeled)
