from __future__ import annotations

from querist.registry import build
from querist.strategies.stopping.all_of import AllOf
from querist.testing import StopCriterionContract, history_of
from querist.values import StopDecision

CRITERIA = [
    {"name": "max_iterations", "options": {"n": 3}},
    {"name": "metric_threshold", "options": {"metric": "f1", "operator": ">=", "value": 0.9}},
]


class TestContract(StopCriterionContract):
    metric = "f1"

    def make(self) -> AllOf:
        return AllOf(CRITERIA)


def test_stops_when_all_are_met() -> None:
    criterion = AllOf(CRITERIA)
    assert criterion.check(history_of([0.95])) == StopDecision(False, "1 of 3 iterations")
    assert criterion.check(history_of([0.5] * 3)) == StopDecision(
        False, "f1 0.5 < 0.9 after 30 labels"
    )
    assert criterion.check(history_of([0.95] * 3)) == StopDecision(
        True, "3 of 3 iterations and f1 0.95 >= 0.9 after 30 labels"
    )


def test_names_all_that_are_missing() -> None:
    assert AllOf(CRITERIA).check(history_of([0.5])).reason == (
        "1 of 3 iterations and f1 0.5 < 0.9 after 10 labels"
    )


def test_nests() -> None:
    inner = {"name": "all_of", "options": {"criteria": CRITERIA}}
    nested = build("stop", "all_of", {"criteria": [inner]})
    for history in (history_of([0.5]), history_of([0.95] * 3)):
        assert nested.check(history) == AllOf(CRITERIA).check(history)


def test_needs_what_each_of_them_needs() -> None:
    assert AllOf([{"name": "delta_f"}, "overall_uncertainty", "delta_f"]).needs == (
        "delta_f", "overall_uncertainty",
    )  # fmt: skip
