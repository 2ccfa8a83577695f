"""Asking a run, from outside, to stop or to go on with other settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from querist import phases
from querist.errors import ConfigurationError, RunError, RunNotFoundError
from querist.phases.decide import decide
from querist.phases.finish import finish_iteration
from querist.phases.plan import pending_phases
from querist.runs import close_run, open_run
from querist.runs.open import check_free
from querist.runs.steering import CONTROL_FILE, ask_to_set, ask_to_stop
from tests.shared import runs

new_run, experiment = runs.new_run, runs.experiment


def iterate(run: Any, iteration: int) -> Any:
    for phase in pending_phases(run, iteration):
        getattr(phases, phase.value)(run, iteration)
    return finish_iteration(run, iteration)


def test_a_run_stops_when_its_iteration_is_whole(new_run: Any) -> None:
    run = new_run("mine")
    assert not iterate(run, 0).stop
    ask_to_stop(run.reference.folder)
    end = iterate(run, 1)
    assert (end.stop, end.reason) == (True, "stopped by user")
    assert run.ledger.fact("stop_reason") == "stopped by user"


def test_settings_hold_from_the_next_iteration_on_and_after_a_resume(new_run: Any) -> None:
    run = new_run("mine")
    ask_to_set(run.reference.folder, {"training": {"batch_size": 4}})
    assert run.settings(0).training.batch_size != 4  # not in the middle of an iteration
    iterate(run, 0)
    ask_to_set(run.reference.folder, {"training": {"batch_size": 5}, "strategies": {"batch": 2}})
    assert run.settings(1).training.batch_size == 4
    iterate(run, 1)
    assert run.settings(1).training.batch_size == 4
    assert run.settings(2).training.batch_size == 5
    assert len(run.ledger.selected(1)) != 2
    close_run(run.reference)
    again = open_run(run.reference)
    assert [again.settings(i).training.batch_size for i in (1, 2, 9)] == [4, 5, 5]
    iterate(again, 2)
    assert len(again.ledger.selected(2)) == 2
    committed = json.loads(again.ledger.commit_rows()[2].settings)
    assert committed["training"]["batch_size"] == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"batch_siz": 4}}, "batch_siz"),
        ({"training": {"batch_size": -1}}, "batch_size"),
        ({"training": {"loss": "mse"}}, "cannot change training.loss, which is fixed"),
        ({"data": {"pool": "digits"}}, "not 'data'"),
        ({"training": 3}, "what changes in training is a mapping of settings, not 3"),
    ],
)
def test_what_cannot_change_is_refused_when_it_is_asked(
    new_run: Any, settings: Any, message: str
) -> None:
    run = new_run("mine")
    with pytest.raises(ConfigurationError, match=message):
        ask_to_set(run.reference.folder, settings)
    assert not (run.reference.folder / CONTROL_FILE).exists()


def test_lines_that_ask_for_nothing_sensible_stop_nobody(new_run: Any) -> None:
    run = new_run("mine")
    path = run.reference.folder / CONTROL_FILE
    path.write_text('no json\n[1]\n{"set": {"training": {"loss": "mse"}}}\n{"stop": tr')
    assert not iterate(run, 0).stop
    assert run.settings(1) == run.experiment
    with path.open("a") as file:  # the rest of the last line comes
        file.write("ue}\n")
    assert iterate(run, 1).reason == "stopped by user"


def test_there_is_nobody_to_ask(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="there is no run in"):
        ask_to_stop(tmp_path)


def test_what_was_asked_while_a_run_was_stopped_waits_for_a_whole_iteration(new_run: Any) -> None:
    run = new_run("mine")
    iterate(run, 0)
    phases.train(run, 1)  # and here it is stopped
    close_run(run.reference)
    ask_to_set(run.reference.folder, {"training": {"batch_size": 4}})
    again = open_run(run.reference)
    decide(again, 0)
    assert [again.settings(i).training.batch_size == 4 for i in (1, 2)] == [False, True]


def test_a_learner_may_be_stopped_before_its_turn(tmp_path: Path) -> None:
    ask_to_stop(tmp_path / "later", may_begin_later=True)
    assert (tmp_path / "later" / CONTROL_FILE).exists()
    check_free(tmp_path / "later")  # a run may still be made there
    assert (tmp_path / "later" / CONTROL_FILE).exists()


def test_a_run_that_has_ended_cannot_be_asked(new_run: Any) -> None:
    run = new_run("mine")
    (run.reference.folder / "summary.json").write_text("{}")
    with pytest.raises(RunError, match="has ended"):
        ask_to_stop(run.reference.folder)
    with pytest.raises(RunError, match="has ended"):
        ask_to_set(run.reference.folder, {"training": {"batch_size": 4}})
