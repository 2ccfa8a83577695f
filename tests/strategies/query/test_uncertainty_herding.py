from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from querist.errors import ConfigurationError
from querist.strategies.query import uncertainty_herding
from querist.strategies.query.margin import Margin
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> UncertaintyHerding:
        return UncertaintyHerding()


class TestContractOnFewCandidates(QueryStrategyContract):
    def make(self) -> UncertaintyHerding:
        return UncertaintyHerding(beta=2, score="odds", space="features")


def reference(x: Any, known: Any, weights: Any, width: float, n: int) -> list[int]:
    def squared(a: Any, b: Any) -> Any:
        return ((a[:, None] - b[None]) ** 2).sum(2)

    if len(known):
        bandwidth = width * np.sort(np.sqrt(squared(x, known).min(1)))[(len(x) - 1) // 2]
        covered = np.exp(-squared(known, x) / bandwidth**2).max(0)
    else:
        distances = np.sort(np.sqrt(squared(x, x)).ravel())
        bandwidth, covered = width * distances[(len(distances) - 1) // 2], np.zeros(len(x))
    table = np.exp(-squared(x, x) / bandwidth**2)
    picks: list[int] = []
    for _ in range(n):
        gains = np.maximum(table - covered, 0) @ weights
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, table[picks[-1]])
    return picks


@pytest.mark.parametrize("labeled", [(), (4, 11, 29)])
@pytest.mark.parametrize(("score", "power"), [("margin", 1), ("odds", 2), ("margin", 0)])
def test_agrees_with_numpy(labeled: tuple[int, ...], score: str, power: float) -> None:
    context = query_context(labeled=labeled)
    selection = UncertaintyHerding(beta=4, score=score, power=power).sample(context, 7)
    ordered = np.sort(context.gather(View.PROBABILITIES).numpy(), axis=1)
    first, second = ordered[:, -1], ordered[:, -2]
    doubt = {"margin": 1 - first + second, "odds": second / first}[score]
    at = np.argsort(-doubt, kind="stable")[:28]
    x = context.gather(View.FEATURES).double().numpy()[at]
    known = context.of_labeled(View.FEATURES).double().numpy() if labeled else []
    picks = at[reference(x, known, doubt[at] ** power, 0.7, 7)]
    assert selection.indices == tuple(context.unlabeled[picks].tolist())
    assert selection.scores == tuple(float(left) for left in range(7, 0, -1))


def test_one_candidate_each_is_margin_sampling() -> None:
    picks = UncertaintyHerding(beta=1).sample(query_context(), 7)
    assert picks == Margin().sample(query_context(), 7)


def test_of_many_candidates_some_are_to_be_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = UncertaintyHerding(beta=10).sample(query_context(), 3)
    monkeypatch.setattr(uncertainty_herding, "REFERENCES", 5)
    draws = {UncertaintyHerding(beta=10).sample(query_context(seed=s), 3) for s in range(4)}
    assert len(draws) > 1
    monkeypatch.setattr(uncertainty_herding, "REFERENCES", 37)
    assert UncertaintyHerding(beta=10).sample(query_context(), 3) == whole


@pytest.mark.parametrize(
    "options", [{"beta": 0.2}, {"score": "p"}, {"power": -1}, {"width": 0}, {"space": "pixels"}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        UncertaintyHerding(**options)
