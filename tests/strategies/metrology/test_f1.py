from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from querist.context import MetrologyContext
from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.strategies.metrology.f1 import F1
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> F1:
        return F1()


class TestContractOfMoreClasses(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)
    classes = 4

    def make(self) -> F1:
        return F1()


def measure(
    targets: list[int], predictions: list[int], classes: int, **options: Any
) -> Mapping[str, float]:
    context = MetrologyContext(
        Task.CLASSIFICATION, classes, torch.tensor(targets), torch.tensor(predictions), None, 3, 0
    )
    return F1(**options).compute(context).values


def assert_agrees(
    targets: list[int], predictions: list[int], classes: int, options: dict[str, Any], **like: Any
) -> None:
    expected = precision_recall_fscore_support(targets, predictions, zero_division=0, **like)
    found = measure(targets, predictions, classes, **options)
    assert list(found) == ["precision", "recall", "f1"]
    assert list(found.values()) == pytest.approx(list(expected[:3]), abs=1e-12)


def pairs(classes: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    one = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1))
    return st.lists(one, min_size=1, max_size=50)


@settings(deadline=None)
@given(pairs=pairs(2), positive=st.sampled_from([0, 1]))
def test_binary_agrees_with_scikit_learn(pairs: list[tuple[int, int]], positive: int) -> None:
    targets, predictions = map(list, zip(*pairs, strict=True))
    present = {*targets, *predictions}
    if positive not in present and len(present) == 1 and positive == 0:
        return  # scikit-learn refuses a positive label that is nowhere, unless it is 1
    options = {"average": "binary", "positive": positive}
    assert_agrees(targets, predictions, 2, options, average="binary", pos_label=positive)


@settings(deadline=None)
@given(pairs=pairs(5), average=st.sampled_from(["macro", "micro"]))
def test_averages_agree_with_scikit_learn(pairs: list[tuple[int, int]], average: str) -> None:
    targets, predictions = map(list, zip(*pairs, strict=True))
    assert_agrees(targets, predictions, 5, {"average": average}, average=average)


def test_by_hand() -> None:
    found = measure([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 2, average="binary")
    assert found == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})


def test_auto_is_binary_for_two_classes_and_macro_for_more() -> None:
    few = [1, 1, 0, 0, 0], [1, 0, 0, 0, 1]
    assert measure(*few, 2) == measure(*few, 2, average="binary")
    assert measure(*few, 2) != measure(*few, 2, average="macro")
    assert measure(*few, 3) == measure(*few, 3, average="macro")


def test_nothing_predicted_positive_is_zero() -> None:
    assert measure([1, 1], [0, 0], 2) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_macro_skips_classes_that_do_not_occur() -> None:
    assert measure([0, 1], [0, 1], 10, average="macro")["f1"] == 1.0


def test_binary_refuses_more_classes() -> None:
    with pytest.raises(
        StrategyError, match="is for two classes, not 3: use average macro or micro"
    ):
        measure([0, 1], [0, 1], 3, average="binary")


def test_an_unknown_average_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no average named 'macros': did you mean 'macro'"):
        F1(average="macros")


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_a_positive_class_without_effect_is_refused(average: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no effect when average is '{average}'"):
        F1(average=average, positive=1)


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        (2, "positive is one of two classes, 0 or 1, not 2"),
        (-1, "positive is a whole number of at least 0, not -1"),
        (True, "positive is a whole number of at least 0, not True"),
        ("1", "positive is a whole number of at least 0, not '1'"),
    ],
)
def test_a_positive_class_is_zero_or_one(positive: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        F1(positive=positive)
