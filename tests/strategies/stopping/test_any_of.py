from __future__ import annotations

from querist.registry import build
from querist.strategies.stopping.any_of import AnyOf
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision

CRITERIA = [
    {"name": "max_iterations", "options": {"n": 3}},
    {"name": "metric_threshold", "options": {"metric": "f1", "operator": ">=", "value": 0.9}},
]


class TestContract(StopCriterionContract):
    metric = "f1"

    def make(self) -> AnyOf:
        many = {"name": "max_iterations", "options": {"n": 30}}
        return AnyOf([many, *CRITERIA[1:]])


def test_stops_when_one_is_met() -> None:
    criterion = AnyOf(CRITERIA)
    assert criterion.check(history_of([0.5])) == StopDecision(
        False, "1 of 3 iterations; f1 0.5 < 0.9 after 10 labels"
    )
    assert criterion.check(history_of([0.95])) == StopDecision(
        True, "f1 0.95 >= 0.9 after 10 labels"
    )
    assert criterion.check(history_of([0.5] * 3)) == StopDecision(True, "3 of 3 iterations")


def test_names_all_that_are_met() -> None:
    assert AnyOf(CRITERIA).check(history_of([0.95] * 3)).reason == (
        "3 of 3 iterations; f1 0.95 >= 0.9 after 30 labels"
    )


def test_nests() -> None:
    inner = {"name": "any_of", "options": {"criteria": CRITERIA}}
    nested = build("stop", "any_of", {"criteria": [inner]})
    for history in (history_of([0.5]), history_of([0.95] * 3)):
        assert nested.check(history) == AnyOf(CRITERIA).check(history)


def test_needs_what_any_of_them_needs() -> None:
    nested = [
        {"name": "stabilizing_predictions"},
        {"name": "any_of", "options": {"criteria": CRITERIA}},
    ]
    assert AnyOf(nested).needs == ("kappa", "f1")
