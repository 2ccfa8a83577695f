"""What stop criteria say while a run goes on reaches its ledger, its log, and whoever watches."""

from __future__ import annotations

import json
from typing import Any

from querist.ledger import OUTLOOK
from querist.progress import Progress, watched_by
from querist.runs.status import read_status
from querist.runs.steering import ask_to_stop

BUDGET = {"name": "label_budget", "options": {"labels": 20}}


def gain_worth(value: float, **more: Any) -> dict[str, Any]:
    options = {"metric": "f1", "value_per_point": value, "window": 2, **more}
    return {"name": "expected_gain", "options": options}


def outlooks(run: Any) -> list[str]:
    lines = (run.reference.folder / "driver_log.json").read_text().splitlines()
    return [e["reason"] for e in map(json.loads, lines) if e["event"] == "outlook"]


def test_each_iteration_says_what_the_next_label_is_worth(new_run: Any, drive: Any) -> None:
    label = {"name": "oracle", "options": {"cost": 0.25}}
    run = new_run(stop=[BUDGET, gain_worth(0.0)], strategies={"label": label})
    heard: list[Progress] = []
    with watched_by(heard.append):
        assert not drive.iterate(run, 0).stop
        status = read_status(run.reference)
        assert status.outlook == "10 of 20 labels; f1 is measured in 1 of 2 iterations"
        decision = drive.iterate(run, 1)
    assert decision.stop
    assert "worth 0, below its cost 0.25 after 15 labels" in decision.reason
    assert outlooks(run) == [said.outlook for said in heard if said.outlook]
    assert run.ledger.fact(OUTLOOK) == f"15 of 20 labels; {decision.reason.partition(': ')[2]}"
    assert read_status(run.reference).stop_reason == decision.reason


def test_the_budget_ends_a_run_whose_labels_are_worth_more(new_run: Any, drive: Any) -> None:
    free = gain_worth(1.0, cost_per_label=0.0)
    run = new_run(stop=[free, BUDGET], driver={"max_active_learning_steps": 9})
    assert drive.finish(run).reason == "budget spent: 20 of 20 labels"
    assert outlooks(run)[-1].endswith("not below its cost 0 after 20 labels; 20 of 20 labels")


def test_it_is_gone_after_an_iteration_in_which_nothing_is_said(new_run: Any, drive: Any) -> None:
    """Who stops a run is obeyed before any criterion is asked."""
    run = new_run(stop=[BUDGET])
    drive.iterate(run, 0)
    assert read_status(run.reference).outlook == "10 of 20 labels"
    ask_to_stop(run.reference.folder)
    assert drive.iterate(run, 1).reason == "stopped by user"
    assert read_status(run.reference).outlook is None
    assert outlooks(run) == ["10 of 20 labels"]


def test_without_criteria_nothing_is_said(new_run: Any, drive: Any) -> None:
    run = new_run()
    drive.iterate(run, 0)
    assert outlooks(run) == []
    assert read_status(run.reference).outlook is None
