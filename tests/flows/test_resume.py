"""Stopped runs go on: without a person where it is known what was bought, with one where not.

That a kill anywhere changes nothing about how a run ends is shown in tests/faults/test_kills.py.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.shared.killed import (
    EXPERIMENT,
    HERE,
    ITERATIONS,
    LABELS,
    ONE_BY_ONE,
    Lab,
    Outcome,
    outcome,
)


def labels_of(folder: Path) -> list[tuple[int, ...]]:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        return ledger.execute("select sample from labels where source != 'initial'").fetchall()


def test_a_mid_training_checkpoint_is_gone_on_with(lab: Lab) -> None:
    lab.write(training={"checkpoint_epochs": 1, "max_training_epochs": 6})
    assert lab("train.epoch:5") == -signal.SIGKILL
    partial = lab.run / "checkpoints" / "partial_0000"
    assert json.loads((partial / "manifest.json").read_text())["epoch"] == 4
    # Two epochs are left of six: the third one after the resume is iteration 1's first.
    assert lab("train.recorded:1") == -signal.SIGKILL
    assert lab("train.epoch:1") == -signal.SIGKILL
    assert (
        json.loads((lab.run / "checkpoints/step_0000/manifest.json").read_text())["iteration"] == 0
    )
    assert lab() == 0
    assert not partial.exists()
    interrupted = outcome(lab.run)
    lab.run.parent.rename(lab.folder / "first")
    (lab.folder / "asked").unlink()
    assert lab() == 0
    assert outcome(lab.run) == interrupted


@pytest.mark.parametrize(("crash", "billed"), [("label.claimed:14", 13), ("label.bought:14", 14)])
def test_a_source_without_keys_is_never_asked_again_by_a_machine(
    crash: str, billed: int, lab: Lab
) -> None:
    lab.write(strategies={"label": ONE_BY_ONE})
    assert lab(crash) == -signal.SIGKILL
    assert len(lab.asked) == billed
    assert lab() == 0, "the run goes on without the label in doubt"
    assert len(labels_of(lab.run)) == ITERATIONS * LABELS - 1
    assert len(lab.asked) == len(set(lab.asked)) == billed + ITERATIONS * LABELS - 14


def test_what_was_not_bought_is_asked_for_again_when_a_person_says_so(
    lab: Lab, uninterrupted: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from querist.phases.settle import Outcome as Settled
    from querist.phases.settle import settle_outcome, unsettled
    from querist.runs import RunReference, close_run, open_run

    lab.write(strategies={"label": ONE_BY_ONE})
    assert lab("label.claimed:14") == -signal.SIGKILL
    monkeypatch.chdir(lab.folder)
    reference = RunReference(run_id="run", root=lab.run.parent)
    run = open_run(reference)
    (doubtful,) = unsettled(run.ledger).requests
    settle_outcome(run, frozenset({doubtful.sample}), Settled.NOT_BOUGHT)
    close_run(reference)
    assert lab() == 0
    again = outcome(lab.run)
    assert again.checkpoints == uninterrupted.checkpoints
    assert again.metrology == uninterrupted.metrology
    assert len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS


# Through the whole command: Prefect, MLflow, and the process that carries out the run -------------


@pytest.fixture
def whole(cli: Any, tmp_path: Path) -> Any:
    content = EXPERIMENT | {"tracking": {"enabled": True}}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    cli.env.update(
        QUERIST_ALLOWED_PACKAGES="interrupted",
        ASKED=str(tmp_path / "asked"),
        PYTHONPATH=os.pathsep.join([str(HERE), cli.env["PYTHONPATH"]]),
    )
    return cli


def without_settings(outcome: Outcome) -> Outcome:
    """Settings and the chain of commits say whether a run is tracked."""
    *ledger, commits, facts = outcome.ledger
    commits = [(iteration, labels, checkpoint) for iteration, labels, _, checkpoint, _ in commits]
    return Outcome([*ledger, commits, facts], outcome.checkpoints, outcome.metrology)


def group_members(group: int) -> list[str]:
    """Processes of a process group that still live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def processes_about(words: str) -> list[str]:
    """Command lines of living processes that contain some words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def test_the_whole_command_is_killed_twice(
    whole: Any, uninterrupted: Outcome, tmp_path: Path
) -> None:
    first = whole.start(
        "run", "experiment.yaml", "--run-id", "run",
        QUERIST_CRASH_AT="label.stored:14:group",
    )  # fmt: skip
    _, err = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, err
    folder = whole.root / "run"
    assert len(labels_of(folder)) == 14
    status = json.loads(whole("status", "run", "--json").out)
    assert (status["state"], status["iterations"]) == ("stopped", 1)
    assert status["phases_done"] == "metrology, query, train"
    assert (status["pending_requests"], len(status["in_doubt"])) == (0, 6)

    second = whole.start("resume", "run", QUERIST_CRASH_AT="train.epoch:2:group")
    _, err = second.communicate(timeout=60)
    assert second.returncode == -signal.SIGKILL, err
    assert wait_until(lambda: not processes_about(str(folder)), 10), "the deliverer outlived it"

    done = whole("resume", "run")
    assert done.code == 0, done
    assert "over the whole run" in done.out
    assert without_settings(outcome(folder)) == without_settings(uninterrupted)
    assert len((tmp_path / "asked").read_text().splitlines()) == ITERATIONS * LABELS

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{whole.root / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "f1")
    assert [point.step for point in history] == [0, 1, 2]

    again = whole("resume", "run")
    assert again.code == 0, again
    assert "max iterations: 3" in again.out


def test_the_process_of_a_run_is_killed_alone(whole: Any, uninterrupted: Outcome) -> None:
    died = whole("run", "experiment.yaml", "--run-id", "run", QUERIST_CRASH_AT="query.chosen:2")
    assert "querist resume" in died.says_one_line(1)
    assert whole("resume", "run").code == 0
    assert without_settings(outcome(whole.root / "run")) == without_settings(uninterrupted)


def test_interrupt_ends_soon_and_leaves_nothing_behind(cli: Any) -> None:
    del cli.env["PREFECT_API_URL"]  # with a server of its own, in the home that has its tables
    arguments = cli.moons("training.max_training_epochs=100000")
    process = cli.start(*arguments, "--run-id", "slow")
    log = cli.root / "slow" / "driver_log.json"
    assert wait_until(log.exists, 30)
    time.sleep(0.5)
    with pytest.raises(AssertionError, match="being worked on by process .* on host"):
        raise AssertionError(cli("resume", "slow").says_one_line(2))
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 10, (out, err)
    assert process.returncode == 1, (out, err)
    assert "querist resume" in err
    # Prefect's own server may complain of what it could not write any more; we must not.
    assert "src/querist/" not in err
    gone = lambda: not group_members(process.pid) and not processes_about(str(cli.root))  # noqa: E731
    assert wait_until(gone, 5)
    assert not processes_about(f"--parent {process.pid}")
    assert json.loads(cli("status", "slow", "--json").out)["state"] == "stopped"
