"""A run that was killed anywhere ends as one that was never killed, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import HERE, Outcome, outcome

ITERATIONS, LABELS = 3, 10
EXPERIMENT = {
    "name": "interrupted moons",
    "seed": 7,
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 300}},
        "initial": {"share": 0.1},
    },
    "learner": "interrupted:Model",
    "training": {
        "loss": "bce_with_logits",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2, "momentum": 0.9}},
        "reset_optimizer": False,
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 4,
    },
    "strategies": {
        "query": [{"name": "distance_to_boundary", "n": 6}, {"name": "random", "n": 4}],
        "label": {"name": "callable", "options": {"function": "interrupted:label"}},
        "metrology": "f1",
    },
    "driver": {"max_active_learning_steps": ITERATIONS, "checkpoint_interval": 0},
    "tracking": {"enabled": False},
}
LEDGER = "querist.ledger.ledger:Ledger"
POINTS = {
    "making the run": f"{LEDGER}.record_start||1|after",
    "train, in an epoch": "querist.training.loop:_train_epoch||8|before",
    "train, the checkpoint is beside": "os:replace|step_0001|1|before",
    "train, the checkpoint is there": "os:replace|step_0001|1|after",
    "train, recorded": f"{LEDGER}.record_phase|train|2|after",
    "metrology, measured": f"{LEDGER}.record_metrology||2|before",
    "metrology, recorded": f"{LEDGER}.record_metrology||2|after",
    "query, chosen": f"{LEDGER}.record_selection||2|before",
    "query, recorded": f"{LEDGER}.record_selection||2|after",
    "label, asked": f"{LEDGER}.record_label||14|before",
    "label, recorded": f"{LEDGER}.record_label||14|after",
    "label, the last one": f"{LEDGER}.record_label||20|after",
    "commit": f"{LEDGER}.commit_iteration||2|before",
    "commit, recorded": f"{LEDGER}.commit_iteration||2|after",
    "commit, the last one": f"{LEDGER}.commit_iteration||3|after",
    "conclude": "os:replace|summary.json|1|before",
    "conclude, summed up": f"{LEDGER}.set_fact|concluded|1|before",
}

Work = Callable[..., int | None]


@pytest.fixture
def work(own_process: Any, tmp_path: Path) -> Work:
    """Do what is left of a run in a process of its own; returns its exit code."""
    from importlib import import_module

    main = import_module("interrupted").work

    def run(kill_at: str = "", **training: Any) -> int | None:
        file = tmp_path / "experiment.yaml"
        file.write_text(
            yaml.safe_dump(EXPERIMENT | {"training": EXPERIMENT["training"] | training})  # type: ignore[operator]
        )
        arguments = (str(file), "run", kill_at, str(tmp_path / "asked"))
        process = own_process.Process(target=main, args=arguments)
        process.start()
        process.join(60)
        assert process.exitcode is not None
        return process.exitcode

    return run


@pytest.fixture(scope="session")
def uninterrupted(own_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    from importlib import import_module

    folder = tmp_path_factory.mktemp("uninterrupted")
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    target = import_module("interrupted").work
    process = own_process.Process(target=target, args=(str(file), "run", "", str(folder / "asked")))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return outcome(folder / "active_learning_logs" / "run")


def labels_of(folder: Path) -> list[tuple[int, ...]]:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        return ledger.execute("select sample from labels where source != 'initial'").fetchall()


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_changes_nothing(
    point: str, work: Work, uninterrupted: Outcome, tmp_path: Path
) -> None:
    assert work(POINTS[point]) == -signal.SIGKILL
    assert work() == 0
    assert outcome(tmp_path / "active_learning_logs" / "run") == uninterrupted
    asked = Counter((tmp_path / "asked").read_text().splitlines())
    assert len(asked) == ITERATIONS * LABELS
    # Only a label that was on its way when the process died is asked for again.
    assert asked.total() - len(asked) == (point == "label, asked")


def test_a_kill_before_the_last_record_is_exported(
    work: Work, uninterrupted: Outcome, tmp_path: Path
) -> None:
    assert work(f"{LEDGER}.record_metrology||3|after") == -signal.SIGKILL
    assert work() == 0
    assert outcome(tmp_path / "active_learning_logs" / "run") == uninterrupted


def test_a_kill_in_the_resume_too(work: Work, uninterrupted: Outcome, tmp_path: Path) -> None:
    assert work(POINTS["train, in an epoch"]) == -signal.SIGKILL
    assert work(f"{LEDGER}.record_label||3|after") == -signal.SIGKILL
    assert work(POINTS["label, recorded"].replace("|14|", "|4|")) == -signal.SIGKILL
    assert work(f"{LEDGER}.record_metrology||1|before") == -signal.SIGKILL
    assert work() == 0
    assert outcome(tmp_path / "active_learning_logs" / "run") == uninterrupted


def test_a_mid_training_checkpoint_is_gone_on_with(work: Work, tmp_path: Path) -> None:
    often = {"checkpoint_epochs": 1, "max_training_epochs": 6}
    assert work("querist.training.loop:_train_epoch||5|before", **often) == -signal.SIGKILL
    partial = tmp_path / "active_learning_logs" / "run" / "checkpoints" / "partial_0000"
    assert json.loads((partial / "manifest.json").read_text())["epoch"] == 4
    # Two epochs are left of six: a third call in iteration 0 would be one too many.
    assert work("querist.training.loop:_train_epoch|iteration=0|3|before", **often) == 0
    assert not partial.exists()
    interrupted = outcome(tmp_path / "active_learning_logs" / "run")
    (tmp_path / "active_learning_logs").rename(tmp_path / "first")
    assert work(**often) == 0
    assert outcome(tmp_path / "active_learning_logs" / "run") == interrupted


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


def without_tracking(outcome: Outcome) -> Outcome:
    """Facts and settings say whether a run is tracked."""
    *ledger, commits, facts = outcome.ledger
    commits = [(i, labels, checkpoint) for i, labels, _, checkpoint in commits]
    facts = [fact for fact in facts if fact[0] != "tracked"]
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
        KILL_AT=POINTS["label, recorded"], KILL_GROUP="1",
    )  # fmt: skip
    _, err = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, err
    folder = whole.root / "run"
    assert len(labels_of(folder)) == 14
    status = json.loads(whole("status", "run", "--json").out)
    assert (status["state"], status["iterations"]) == ("stopped", 1)
    assert status["phases_done"] == "metrology, query, train"
    assert status["pending_requests"] == 6

    second = whole.start(
        "resume", "run", KILL_AT="querist.training.loop:_train_epoch||2|before", KILL_GROUP="1"
    )
    _, err = second.communicate(timeout=60)
    assert second.returncode == -signal.SIGKILL, err
    assert wait_until(lambda: not processes_about(str(folder)), 10), "the deliverer outlived it"

    done = whole("resume", "run")
    assert done.code == 0, done
    assert "over the whole run" in done.out
    assert without_tracking(outcome(folder)) == without_tracking(uninterrupted)
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
    died = whole("run", "experiment.yaml", "--run-id", "run", KILL_AT=POINTS["query, chosen"])
    assert "querist resume" in died.says_one_line(1)
    assert whole("resume", "run").code == 0
    assert without_tracking(outcome(whole.root / "run")) == without_tracking(uninterrupted)


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
    assert "Traceback" not in err
    gone = lambda: not group_members(process.pid) and not processes_about(str(cli.root))  # noqa: E731
    assert wait_until(gone, 5)
    assert not processes_about(f"--parent {process.pid}")
    assert json.loads(cli("status", "slow", "--json").out)["state"] == "stopped"
