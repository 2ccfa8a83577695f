from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.stopping.label_budget import LabelBudget
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision


class TestContract(StopCriterionContract):
    def make(self) -> LabelBudget:
        return LabelBudget(40)


def test_stops_when_the_budget_is_reached() -> None:
    criterion = LabelBudget(30)
    assert criterion.check(history_of([0.1] * 2)) == StopDecision(False, "20 of 30 labels")
    assert criterion.check(history_of([0.1] * 3)) == StopDecision(True, "30 of 30 labels")
    assert criterion.check(history_of([0.1] * 4)) == StopDecision(True, "40 of 30 labels")


@pytest.mark.parametrize("labels", [0, 1.5, False, "10"])
def test_labels_is_a_whole_number(labels: Any) -> None:
    with pytest.raises(ConfigurationError, match="labels is a whole number of at least 1, not"):
        LabelBudget(labels)
