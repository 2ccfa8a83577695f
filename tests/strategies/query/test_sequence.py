from __future__ import annotations

from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, UnknownNameError
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.margin import Margin
from querist.strategies.query.sequence import InSequence
from querist.testing import QueryStrategyContract, query_context
from querist.views import View
from tests.shared.strategies import ascending, descending


class TestContract(QueryStrategyContract):
    def make(self) -> InSequence:
        return InSequence([{"name": "margin", "keep_times": 2}, {"name": "entropy"}])


def calls(function: Any, **beside: Any) -> dict[str, Any]:
    return {"name": "callable", "options": {"function": function}, **beside}


def test_each_stage_chooses_from_what_the_one_before_keeps() -> None:
    strategy = InSequence(
        [calls(ascending, keep=12), calls(descending, keep_times=2), calls(ascending)]
    )
    context = query_context(labeled=())
    # 0 .. 11, of these 11 .. 6, of these 6, 7, 8.
    assert strategy.sample(context, 3).indices == (6, 7, 8)


def test_agrees_with_a_filter_by_hand() -> None:
    context = query_context()
    kept = sorted(Margin().sample(context, 10).indices)
    narrow = query_context(unlabeled=torch.tensor(kept))
    found = InSequence([{"name": "margin", "keep_times": 2}, "entropy"]).sample(context, 5)
    assert found == Entropy().sample(narrow, 5)


def test_never_keeps_fewer_than_are_wanted() -> None:
    strategy = InSequence([calls(ascending, keep=2), calls(descending)])
    assert strategy.sample(query_context(labeled=()), 4).indices == (3, 2, 1, 0)


def test_the_learner_is_asked_once_of_each_view() -> None:
    context = query_context()
    InSequence([{"name": "margin", "keep": 9}, "entropy"]).sample(context, 2)
    assert context.shared.has(View.PROBABILITIES, context.unlabeled)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["margin"], "stages of sequence are at least two, one to filter and one to choose"),
        (["margin", "entropy"], "but the last says keep or keep_times, not neither .stage 0"),
        (
            [{"name": "margin", "keep": 3, "keep_times": 2}, "entropy"],
            "keep or keep_times, not keep and keep_times",
        ),
        ([{"name": "margin", "keep": 0}, "entropy"], "whole number of at least 1, not 0"),
        ([{"name": "margin", "keep_times": 0.5}, "entropy"], "number of at least 1, not 0.5"),
        (
            [{"name": "margin", "keep": 3}, {"name": "entropy", "keep": 3}],
            "the last of the stages of sequence keeps what is wanted",
        ),
    ],
)
def test_options_are_checked(stages: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        InSequence(stages)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'keep'"):
        InSequence([{"name": "margin", "kep": 3}, {"name": "entropy"}])
