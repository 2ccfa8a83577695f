from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.strategies.stopping.judgement import Judgement
from querist.values import IterationResult, StopDecision

NEWEST = IterationResult(3, 40)


@pytest.mark.parametrize(
    ("operator", "answer", "stop", "reason"),
    [
        ("<", 0.5, True, "mine 0.5 < 1 after 40 labels"),
        ("<", 1.0, False, "mine 1 >= 1 after 40 labels"),
        (">=", float("inf"), True, "mine inf >= 1 after 40 labels"),
        (">", float("nan"), False, "mine is NaN after 40 labels"),
        (None, True, True, "mine says true after 40 labels"),
        (None, False, False, "mine says false after 40 labels"),
    ],
)
def test_answers(operator: str | None, answer: Any, stop: bool, reason: str) -> None:
    judgement = Judgement("mine", operator, None if operator is None else 1.0)
    assert judgement.of(answer, NEWEST) == StopDecision(stop, reason)


def test_an_answer_of_the_other_kind() -> None:
    with pytest.raises(StrategyError, match="set operator and value"):
        Judgement("mine", None, None).of(0.5, NEWEST)
    for answer in (True, "0.5", None):
        with pytest.raises(StrategyError, match="remove operator and value"):
            Judgement("mine", "<", 1.0).of(answer, NEWEST)


def test_operator_and_value_belong_together() -> None:
    with pytest.raises(ConfigurationError, match="only operator is there: add value"):
        Judgement("mine", "<", None)
    with pytest.raises(ConfigurationError, match="only value is there: add operator"):
        Judgement("mine", None, 1.0)
    with pytest.raises(UnknownNameError, match="operator"):
        Judgement("mine", "==", 1.0)
