from __future__ import annotations

import pytest
import torch

from querist.errors import ConfigurationError, ForbiddenImportError, StrategyError
from querist.strategies.stopping.python_callable import StopCallable
from querist.testing import StopCriterionContract, history_of
from querist.values import History, StopDecision


def labels(history: History) -> int:
    return history[-1].labels


def enough(history: History) -> bool:
    return len(history) > 3


class TestContractOfNumbers(StopCriterionContract):
    def make(self) -> StopCallable:
        return StopCallable(labels, ">=", 40)


class TestContractOfBooleans(StopCriterionContract):
    def make(self) -> StopCallable:
        return StopCallable(enough)


def test_what_a_function_may_say() -> None:
    history = history_of([0.5])
    assert StopCallable(lambda h: StopDecision(True, "why")).check(history).reason == "why"
    assert StopCallable(lambda h: torch.tensor(True)).check(history).stop
    assert StopCallable(lambda h: torch.tensor(2.0), ">", 1).check(history).stop
    assert not StopCallable(lambda h: float("nan"), "<", 1).check(history).stop
    with pytest.raises(StrategyError, match="says true or false"):
        StopCallable(lambda h: None).check(history)


def test_by_name() -> None:
    with pytest.raises(ForbiddenImportError):
        StopCallable("os:system")
    with pytest.raises(ConfigurationError, match="something to call with the history"):
        StopCallable(3)  # type: ignore[arg-type]
