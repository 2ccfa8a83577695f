from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.switch import Switch
from querist.testing import LinearNumbers, QueryStrategyContract, query_context
from tests.shared.strategies import ascending, descending

FIRST = {"name": "callable", "options": {"function": ascending}}
THEN = {"name": "callable", "options": {"function": descending}}


class TestContract(QueryStrategyContract):
    def make(self) -> Switch:
        return Switch([{"name": "random", "until_labels": 2}, "margin"])


class TestContractOfItsFirstStage(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> Switch:
        return Switch([{"name": "random", "until_iteration": 9}, {"name": "random"}])


def chosen(condition: str, number: int, **more: Any) -> int:
    strategy = Switch([{**FIRST, condition: number}, THEN])
    iteration = more.pop("iteration", 1)
    context = replace(query_context(**more), iteration=iteration)
    return strategy.sample(context, 1).indices[0]


def test_until_an_iteration() -> None:
    found = [chosen("until_iteration", 2, labeled=(), iteration=i) for i in range(4)]
    assert found == [0, 0, 39, 39]


def test_until_there_are_labels() -> None:
    assert chosen("until_labels", 4) == 0
    assert chosen("until_labels", 3) == 39


def test_until_each_class_has_labels() -> None:
    """Classes come in turn, so that 0 .. 4 have two labels of the classes 0 and 1, one of 2."""
    assert chosen("until_labels_per_class", 2, labeled=range(5)) == 5
    assert chosen("until_labels_per_class", 2, labeled=range(6)) == 39
    assert chosen("until_labels_per_class", 1, labeled=(0, 1)) == 2


def test_until_classes_have_labels_on_the_mean() -> None:
    """Three classes; that none of the labels is of the third one does not matter."""
    found = (0, 1, 3, 4, 6)
    assert chosen("until_mean_labels_per_class", 2, labeled=found) == 2
    assert chosen("until_mean_labels_per_class", 2, labeled=(*found, 7)) == 39
    assert chosen("until_labels_per_class", 1, labeled=(*found, 7)) == 2


def test_stages_follow_each_other() -> None:
    seen = []
    strategy = Switch(
        [
            {"name": "random", "until_iteration": 1},
            {"name": "entropy", "until_labels": 9},
            {"name": "margin"},
        ]
    )
    for iteration, labels in ((0, 3), (1, 6), (2, 9), (3, 12)):
        context = replace(query_context(labeled=range(labels)), iteration=iteration)
        seen.append(type(strategy.now(context)).__name__)
    assert seen == ["Random", "Entropy", "Margin", "Margin"]


@pytest.mark.parametrize("condition", ["until_labels_per_class", "until_mean_labels_per_class"])
def test_labels_that_are_numbers_have_no_classes(condition: str) -> None:
    strategy = Switch([{"name": "random", condition: 2}, "random"])
    context = query_context(learner=LinearNumbers(torch.ones(4)))
    with pytest.raises(StrategyError, match=f"{condition} counts labels of classes, and the label"):
        strategy.sample(context, 2)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["margin"], "stages of switch are at least two, not 1"),
        (["margin", "entropy"], "has one end of until_iteration, .*, not none .stage 0"),
        (
            [{"name": "margin", "until_iteration": 1, "until_labels": 5}, "entropy"],
            "not until_iteration and until_labels",
        ),
        ([{"name": "margin", "until_labels": 0}, "random"], "whole number of at least 1, not 0"),
        (
            [{"name": "random", "until_labels": 2}, {"name": "margin", "until_labels": 5}],
            "the last of the stages of switch has no end, unlike",
        ),
    ],
)
def test_options_are_checked(stages: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Switch(stages)
