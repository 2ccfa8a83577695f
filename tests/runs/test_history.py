"""What stop criteria and schedules see of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from querist import phases
from querist.requests import LabelRequest
from querist.values import Label


class Shop:
    """Sells a label for a tenth."""

    asks_by_key = True

    def label(self, request: LabelRequest) -> Iterator[Label]:
        for index in request.indices.tolist():
            yield Label(index, index % 2, cost=0.1)


@pytest.fixture
def shop(component: Any) -> dict[str, Any]:
    return {"label": component("label", Shop)}


def test_labels_and_cost_through_each_iteration(new_run: Any, drive: Any, shop: Any) -> None:
    run = new_run(strategies=shop)
    drive.finish(run)
    history = run.history()
    assert [(r.labels, r.labels_bought, r.label_cost) for r in history] == [
        (10, 5, 0.5), (15, 10, 1.0), (20, 15, 1.5),
    ]  # fmt: skip
    for result in history:
        bought, cost = run.ledger.labels_spent(through=result.iteration)
        assert (result.labels_bought, result.label_cost) == (bought, pytest.approx(cost))
    assert drive.reopened(run).history() == history


def test_labels_that_came_later_are_not_in_an_earlier_iteration(
    new_run: Any, drive: Any, shop: Any
) -> None:
    run = new_run(strategies=shop)
    drive.iterate(run, 0)
    phases.train(run, 1)
    phases.metrology(run, 1)
    phases.query(run, 1)
    phases.label(run, 1)
    assert [r.label_cost for r in run.history()] == [0.5], "iteration 1 is not committed"


def test_without_a_label_nothing_was_spent(new_run: Any, drive: Any) -> None:
    run = new_run(
        strategies={"label": None},
        driver={"skip_labeling": True, "max_active_learning_steps": 2},
    )
    drive.finish(run)
    assert [(r.labels_bought, r.label_cost) for r in run.history()] == [(0, 0.0), (0, 0.0)]


def test_a_run_stops_by_cost(new_run: Any, drive: Any, shop: Any) -> None:
    """Ten times 0.1 is 1.0, which it is not in floats; and a resume changes nothing."""
    run = new_run(
        strategies=shop,
        stop={"name": "cost", "options": {"budget": 1.0}},
        driver={"max_active_learning_steps": 6},
    )
    assert not drive.iterate(run, 0).stop
    run = drive.reopened(run)
    assert drive.iterate(run, 1).reason == "criterion met: 1 of 1 spent on 10 labels"


def test_a_run_stops_by_expected_gain(new_run: Any, drive: Any, shop: Any) -> None:
    """Nothing that F1 could gain is worth a tenth."""
    gain = {"metric": "f1", "value_per_point": 0.0, "window": 2}
    run = new_run(strategies=shop, stop={"name": "expected_gain", "options": gain})
    decision = drive.finish(run)
    assert "worth 0, below its cost 0.1 after 15 labels" in decision.reason


def test_wall_time_goes_on_after_a_resume(new_run: Any, drive: Any) -> None:
    run = new_run(stop={"name": "wall_time", "options": {"seconds": 1e-9}})
    drive.iterate(run, 0)
    taken = sum(run.history()[0].seconds.values())
    run = drive.reopened(run)
    assert sum(run.history()[0].seconds.values()) == taken > 0
    assert phases.decide(run, 0).reason.endswith("of 1e-09 seconds")
