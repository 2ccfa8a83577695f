"""A run that is gone on with piece by piece, with a real Prefect server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist import phases
from querist.config.load import build_experiment, merge
from querist.errors import ConfigurationError, RunLockedError
from querist.flows import Collection, label_collection
from querist.flows.label_collection import collection_markdown
from querist.phases.begin import begin
from querist.runs import close_run, open_run
from querist.runs.lock import RunLock
from tests.shared.killed import EXPERIMENT, HERE, ITERATIONS, LABELS, Outcome, outcome
from tests.shared.runs import finish

from ..conftest import REPOSITORY, Cli

PAUSED = "SCHEDULED"


@pytest.fixture
def collect(
    prefect_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, Collection]]:
    """Collects labels in this process; returns the state's name and what it holds."""
    from querist.deployments.embedded_server import prefect_api

    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.chdir(tmp_path)

    def make(iterations: int = 1, **changes: Any) -> tuple[str, Collection]:
        experiment = build_experiment(merge(EXPERIMENT, changes))

        async def main() -> tuple[str, Collection]:
            state = await label_collection(experiment, "run", iterations, return_state=True)
            return str(state.name), await state.result()

        with prefect_api(prefect_server):
            return asyncio.run(main())

    return make


def folder_of(collection: Collection) -> Path:
    return Path(collection.folder)


def without_announcements(found: Outcome) -> Outcome:
    """Of how many labels others were told is a fact of collections only."""
    *ledger, facts = found.ledger
    kept = [(key, value) for key, value in facts if key != "labels_announced"]
    return Outcome([*ledger, kept], found.checkpoints, found.metrology)


def events(database: Path, count: int, since: datetime) -> list[dict[str, Any]]:
    """The payloads of what was announced since a time; they come within seconds."""
    query = (
        "select payload from events where event = 'querist.labels.collected' "
        f"and occurred >= '{since:%Y-%m-%d %H:%M:%S.%f}' order by occurred"
    )
    until = time.monotonic() + 20
    while True:
        with sqlite3.connect(database) as connection:
            found = [json.loads(payload) for (payload,) in connection.execute(query)]
        if len(found) >= count or time.monotonic() > until:
            return found
        time.sleep(0.1)


# Piece by piece -----------------------------------------------------------------------------------


def test_three_collections_are_one_run_bit_by_bit(
    collect: Callable[..., Any], uninterrupted: Outcome
) -> None:
    names, found = zip(*(collect() for _ in range(3)), strict=True)
    assert names == ("Collected", "Collected", "Concluded")
    assert [one.labels_new for one in found] == [LABELS] * 3
    assert [one.iterations for one in found] == [1, 1, 1]
    assert [one.iterations_of_run for one in found] == [1, 2, 3]
    assert [one.concluded for one in found] == [False, False, True]
    assert [one.stop_reason for one in found] == [None, None, "max iterations: 3"]
    assert without_announcements(outcome(folder_of(found[-1]))) == uninterrupted


def test_several_at_once_end_with_the_run(
    collect: Callable[..., Any], uninterrupted: Outcome
) -> None:
    name, first = collect(2)
    assert (name, first.iterations, first.labels_new) == ("Collected", 2, 2 * LABELS)
    name, last = collect(5)
    assert (name, last.iterations, last.iterations_of_run) == ("Concluded", 1, ITERATIONS)
    assert without_announcements(outcome(folder_of(last))) == uninterrupted


def test_nothing_is_trained_that_is_not_for_now(collect: Callable[..., Any]) -> None:
    _, first = collect()
    log = (folder_of(first) / "driver_log.json").read_text()
    assert {json.loads(line)["iteration"] for line in log.splitlines()} == {0}
    assert not (folder_of(first) / "summary.json").exists()


def test_a_run_that_has_ended_has_nothing_to_ask(
    collect: Callable[..., Any], tmp_path: Path
) -> None:
    collect(3)
    before = outcome(tmp_path / "active_learning_logs" / "run")
    asked = (tmp_path / "asked").read_text()
    name, found = collect(2)
    assert name == "Nothing to ask"
    assert (found.iterations, found.labels_new, found.concluded) == (0, 0, True)
    assert found.stop_reason == "max iterations: 3"
    assert outcome(folder_of(found)) == before
    assert (tmp_path / "asked").read_text() == asked


def test_a_rule_of_the_run_ends_it(collect: Callable[..., Any]) -> None:
    stop = {"name": "max_iterations", "options": {"n": 2}}
    assert collect(stop=stop)[0] == "Collected"
    name, found = collect(5, stop=stop)
    assert (name, found.iterations) == ("Concluded", 1)
    assert found.stop_reason == "criterion met: 2 of 2 iterations"


def test_somebody_else_goes_on_with_the_run(
    collect: Callable[..., Any], uninterrupted: Outcome
) -> None:
    """A run that was let go of is a run like any other."""
    _, first = collect()
    start = begin(build_experiment(EXPERIMENT), "run")
    finish(open_run(start.run))
    phases.conclude(open_run(start.run))
    close_run(start.run)
    assert without_announcements(outcome(folder_of(first))) == uninterrupted
    name, found = collect()
    assert (name, found.labels_new) == ("Nothing to ask", 2 * LABELS), "nobody was told of them"
    assert collect()[1].labels_new == 0


# Pending labels -----------------------------------------------------------------------------------


@pytest.fixture
def people(write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Label only the samples on the right, unless the file `all` is there."""
    write(
        "people.py",
        "from pathlib import Path\n"
        "def label(point):\n"
        "    late = point[0] < 0.5 and not Path('all').exists()\n"
        "    return None if late else int(point[1] < 0.25)\n",
    )


def test_pending_labels_hold_no_process(
    collect: Callable[..., Any], people: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples,people")
    label = {"name": "callable", "options": {"function": "people:label"}}
    name, first = collect(strategies={"label": label})
    assert name == "Waiting for labels"
    assert first.pending > 0
    assert first.labels_new + first.pending == LABELS
    (tmp_path / "all").touch()
    name, second = collect(strategies={"label": label})
    assert (name, second.pending) == ("Collected", 0)
    assert second.labels_new == LABELS + first.pending
    assert second.labels == first.labels + second.labels_new


# What is refused ----------------------------------------------------------------------------------


def test_labels_that_nobody_shall_give_are_refused(
    collect: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"driver\.skip_labeling is true: set it to false"):
        collect(driver={"skip_labeling": True}, strategies={"label": None})
    assert not (tmp_path / "active_learning_logs").exists()


@pytest.mark.parametrize("iterations", [0, -1])
def test_no_iterations_are_refused(iterations: int) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError, match="greater than or equal to 1"):
        label_collection.validate_parameters(
            {"experiment": EXPERIMENT, "run_id": "run", "iterations": iterations}
        )


def test_the_form_asks_for_a_run() -> None:
    assert label_collection.parameters.model_dump()["required"] == ["experiment", "run_id"]


def test_a_run_that_another_process_works_on(
    collect: Callable[..., Any], tmp_path: Path, own_process: Any
) -> None:
    _, first = collect()
    ready, done = own_process.Event(), own_process.Event()
    holder = own_process.Process(
        target=_hold, args=(str(folder_of(first)), ready, done), daemon=True
    )
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RunLockedError, match="being worked on by process"):
            collect()
    finally:
        done.set()
        holder.join(30)
    RunLock(folder_of(first), probe=True).release()


def _hold(folder: str, ready: Any, done: Any) -> None:
    lock = RunLock(Path(folder))
    ready.set()
    done.wait(60)
    lock.release()


# Through the command: MLflow, events, kills -------------------------------------------------------


@pytest.fixture
def command(cli: Cli, tmp_path: Path) -> Cli:
    content = EXPERIMENT | {"tracking": {"enabled": True}}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    cli.env.update(
        QUERIST_ALLOWED_PACKAGES="interrupted,examples",
        ASKED=str(tmp_path / "asked"),
        PYTHONPATH=os.pathsep.join(map(str, (HERE, REPOSITORY, REPOSITORY / "src"))),
    )
    return cli


def mlflow_runs(cli: Cli) -> list[tuple[str, int | None]]:
    with sqlite3.connect(cli.root / "mlflow.db") as database:
        return database.execute("select status, end_time from runs").fetchall()


def test_the_command_is_killed_and_goes_on(
    command: Cli, uninterrupted: Outcome, prefect_home: Path, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    arguments = ("collect", "experiment.yaml", "--run-id", "run")
    first = command(*arguments, "--json")
    assert first.code == 0, first
    assert json.loads(first.out)["labels_new"] == LABELS
    assert mlflow_runs(command) == [(PAUSED, None)]

    killed = command.start(*arguments, QUERIST_CRASH_AT="label.stored:4:group")
    _, err = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, err

    second = command(*arguments)
    assert second.code == 0, second
    assert "run         run (goes on)" in second.out
    assert f"({LABELS} new, 0 pending)" in second.out
    assert "iterations  2 (1 now)" in second.out
    status = json.loads(command("status", "run", "--json").out)
    assert (status["state"], status["tracking_pending"]) == ("stopped", 0)

    last = command(*arguments, "--iterations", "9")
    assert last.code == 0, last
    assert "run (ended: max iterations: 3)" in last.out
    ((state, ended),) = mlflow_runs(command)
    assert (state, ended is None) == ("FINISHED", False)
    assert len((tmp_path / "asked").read_text().splitlines()) == ITERATIONS * LABELS
    found = outcome(command.root / "run")
    assert found.checkpoints == uninterrupted.checkpoints
    assert found.metrology == uninterrupted.metrology
    assert found.ledger[:-2] == uninterrupted.ledger[:-2], "labels, selections, requests, ..."

    announced = events(prefect_home / "prefect.db", 3, began)
    initial = announced[0]["labels"] - LABELS
    assert announced == [
        {"run_id": "run", "labels": initial + i * LABELS, "labels_new": LABELS} for i in (1, 2, 3)
    ]


def test_what_the_command_refuses(command: Cli, tmp_path: Path) -> None:
    assert "there is no file" in command("collect", "no.yaml", "--run-id", "a").says_one_line(2)
    several = yaml.safe_dump({**EXPERIMENT, "learners": [{}, {"name": "b"}]})
    (tmp_path / "several.yaml").write_text(several)
    words = command("collect", "several.yaml", "--run-id", "a").says_one_line(2)
    assert "is of several" in words
    words = command("collect", "experiment.yaml", "--run-id", "../a").says_one_line(2)
    assert "a run id has 1 to 64 letters" in words
    assert not command.root.exists()


# In words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concluded", "line"),
    [
        (None, "- goes on: the next collection asks for more"),
        ("pool exhausted", "- concluded: pool exhausted"),
    ],
)
def test_the_report(concluded: str | None, line: str) -> None:
    found = Collection("r", "/runs/r", 1, 4, 60, 8, 2, concluded is not None, concluded)
    lines = collection_markdown("moons", found).splitlines()
    assert lines == [
        "## moons, run r",
        "- labels: 60 (8 new, 2 pending)",
        "- iterations: 4 (1 now)",
        line,
        "- folder: `/runs/r`",
    ]
