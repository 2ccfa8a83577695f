from __future__ import annotations

from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query.margin import Margin
from querist.strategies.query.subsample import Subsample
from querist.testing import QueryStrategyContract, query_context
from querist.values import Selection
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Subsample:
        return Subsample("margin", size=40)


class TestContractOfFewer(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Subsample:
        return Subsample("random", share=0.4)


def candidates_of(subsample: Any, seed: int = 0, n: int = 2) -> list[int]:
    seen: list[int] = []

    def watch(context: Any, n: int) -> Selection:
        seen.extend(context.unlabeled.tolist())
        return Margin().sample(context, n)

    made = subsample({"name": "callable", "options": {"function": watch}})
    context = query_context(seed=seed)
    found = made.sample(context, n)
    assert set(found.indices) <= set(seen) <= set(context.unlabeled.tolist())
    assert seen == sorted(seen)
    return seen


@pytest.mark.parametrize(
    ("options", "n", "number"),
    [({"size": 10}, 2, 10), ({"size": 10}, 15, 15), ({"size": 99}, 2, 37), ({"share": 0.5}, 2, 18),
     ({"share": 0}, 2, 2), ({"share": 1}, 2, 37)],
)  # fmt: skip
def test_as_many_are_drawn_as_are_asked_for(options: Any, n: int, number: int) -> None:
    assert len(candidates_of(lambda inner: Subsample(inner, **options), n=n)) == number


def test_every_candidate_is_drawn_as_often() -> None:
    counts = torch.zeros(40)
    for seed in range(300):
        counts[candidates_of(lambda inner: Subsample(inner, size=10), seed)] += 1
    expected = 300 * 10 / 37
    drawn = counts[counts > 0]
    assert len(drawn) == 37
    assert float((drawn - expected).abs().max()) < 5 * (expected * (1 - 10 / 37)) ** 0.5


def test_the_learner_is_asked_of_the_drawn_alone() -> None:
    context = query_context()
    Subsample("margin", size=10).sample(context, 3)
    assert not context.shared.has(View.PROBABILITIES, context.unlabeled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a number of candidates or a share of them, not neither"),
        ({"size": 3, "share": 0.5}, "not both: set one of size and share"),
        ({"size": 0}, "size is a whole number of at least 1, not 0"),
        ({"share": 2}, "share is a number from 0 to 1, not 2"),
    ],
)
def test_options_are_checked(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Subsample("margin", **options)
