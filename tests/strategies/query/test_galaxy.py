from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.galaxy import Galaxy
from querist.strategies.query.margin import Margin
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Galaxy:
        return Galaxy()


class TestSomeCandidatesContract(QueryStrategyContract):
    def make(self) -> Galaxy:
        return Galaxy(candidates=20)


def reference(proba: np.ndarray, unlabeled: list[int], labels: dict[int, int], n: int) -> list[int]:
    """Looks at all pairs of labels in all rows for every pick."""
    classes = proba.shape[1]
    rows = []
    nodes = [*unlabeled, *labels]
    for k in range(1 if classes == 2 else classes):
        lead = {i: proba[i, k] - max(np.delete(proba[i], k)) for i in nodes}
        rows.append(sorted(nodes, key=lead.__getitem__))
    chosen: list[int] = []
    while len(chosen) < n:
        gaps, sides = [], []
        for k, row in enumerate(rows):
            known = [place for place, node in enumerate(row) if node in labels]
            kinds = [labels[row[place]] == k for place in known]
            for a, b, one, other in zip(known, known[1:], kinds, kinds[1:], strict=False):
                if one != other and b - a > 1:
                    gaps.append((b - a, k, a, row[(a + b) // 2]))
            for place, node in enumerate(row):
                if node not in labels:
                    far = {True: np.inf, False: np.inf}
                    for p, inside in zip(known, kinds, strict=True):
                        far[inside] = min(far[inside], abs(place - p))
                    sides.append((max(far.values()), k, place, node))
        found = min(gaps or [s for s in sides if np.isfinite(s[0])])[3]
        chosen.append(found)
        labels[found] = int(proba[found].argmax())
    return chosen


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_looking_at_all_pairs(classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    proba = torch.randn(40, classes, generator=generator).double().softmax(1)
    learner = FixedProbabilities(lambda features: proba[features[:, 0].long()])
    features = torch.arange(40, dtype=torch.float32)[:, None]
    targets = torch.randint(classes, (40,), generator=generator)
    targets[4], targets[11] = 0, 1
    context = query_context(features=features, learner=learner, targets=targets)
    labels = {int(i): int(targets[i]) for i in context.labeled.indices}
    expected = reference(proba.numpy(), context.unlabeled.tolist(), labels, 15)
    assert list(Galaxy().sample(context, 15).indices) == expected


def rare_class() -> tuple[torch.Tensor, FixedProbabilities]:
    """1,000 samples of which 20 are rare; the learner ranks well, and sees its boundary too low."""
    x = torch.linspace(0, 1, 1000)

    def predict(features: torch.Tensor) -> torch.Tensor:
        rare = torch.sigmoid(10 * (features[:, 0] - 0.7))
        return torch.stack([1 - rare, rare], dim=1)

    return x[:, None], FixedProbabilities(predict)


def test_finds_the_rare_class_where_margins_do_not() -> None:
    """With one label per query the boundary is found, and both of its sides are asked."""
    features, learner = rare_class()
    truth = (features[:, 0] > 0.98).long()

    def labeled(strategy: Galaxy | Margin) -> torch.Tensor:
        known = [0, 999]
        for _ in range(30):
            context = query_context(
                features=features, targets=truth, learner=learner, labeled=known
            )
            known += strategy.sample(context, 1).indices
        return truth[torch.tensor(known)]

    assert int(labeled(Galaxy()).sum()) >= 10
    assert int(labeled(Margin()).sum()) == 1


def test_a_batch_believes_the_learner() -> None:
    """Without answers the boundary that is bisected is the learner's, on both of its sides."""
    features, learner = rare_class()
    truth = (features[:, 0] > 0.98).long()
    context = query_context(features=features, targets=truth, learner=learner, labeled=[0, 999])
    chosen = torch.tensor(Galaxy().sample(context, 30).indices)
    rare = learner.predict_proba(context.pool.features(chosen))[:, 1] > 0.5
    assert 10 <= int(rare.sum()) <= 20


def test_without_a_boundary_samples_are_random() -> None:
    context = query_context(targets=torch.zeros(40, dtype=torch.int64), labeled=())
    one = Galaxy().sample(context, 5).indices
    assert len(set(one)) == 5
    other = Galaxy().sample(query_context(labeled=(), seed=1), 5).indices
    assert one != other


def test_too_many_places_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.strategies.query.galaxy.MOST_PLACES", 60)
    with pytest.raises(StrategyError, match="and these are 120: set candidates to 17 or less"):
        Galaxy().sample(query_context(), 2)
    assert len(Galaxy(candidates=17).sample(query_context(), 2)) == 2
    assert Galaxy.about.needs == (View.PROBABILITIES,)


@pytest.mark.parametrize("candidates", [0, 1.5, True])
def test_options_are_checked(candidates: float) -> None:
    with pytest.raises(ConfigurationError, match="candidates"):
        Galaxy(candidates=candidates)  # type: ignore[arg-type]
