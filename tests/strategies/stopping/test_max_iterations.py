from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.max_iterations import MaxIterations
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision


class TestContract(StopCriterionContract):
    def make(self) -> MaxIterations:
        return MaxIterations(4)


def test_stops_after_n() -> None:
    criterion = MaxIterations(3)
    assert criterion.check(history_of([0.1] * 2)) == StopDecision(False, "2 of 3 iterations")
    assert criterion.check(history_of([0.1] * 3)) == StopDecision(True, "3 of 3 iterations")
    assert criterion.check(history_of([0.1] * 4)).stop


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3", None])
def test_n_is_a_whole_number(n: Any) -> None:
    with pytest.raises(ConfigurationError, match="n is a whole number of at least 1, not"):
        MaxIterations(n)
