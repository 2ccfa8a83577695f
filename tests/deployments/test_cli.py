"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist.deployments import cli as command_line

from ..conftest import MOONS, Cli, SmallRun

Write = Callable[[str, str], Path]
ONE_STEP = ("driver.max_active_learning_steps=1", "tracking.enabled=false")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def querist(here: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: for what ends before a flow starts."""

    def run(*args: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = 0
        try:
            command_line.app([str(arg) for arg in args])
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capfd.readouterr())

    return run


def refused(found: tuple[int, str, str], code: int = 2) -> str:
    """The one line of an error."""
    assert found[0] == code, found
    assert found[1] == ""
    lines = found[2].splitlines()
    assert len(lines) == 1, found[2]
    assert lines[0].startswith("error: ")
    return lines[0]


# Mistakes that are found before anything starts ---------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["trainig.batch_size=3"],
            "no key named 'trainig': did you mean 'training' or 'tracking'?",
        ),
        (["training.batchsize=3"], "training.batchsize: there is no key named 'batchsize'"),
        (["training.batch_size=0"], "training.batch_size: Input should be greater than"),
        (["training.batch_size"], "an override has the form key=value"),
        (["seed=[1"], "is not valid YAML"),
        (["seed.first=1"], "looks inside 'seed', which is 216167"),
        (["strategies.query=margn"], "no query component named 'margn': did you mean 'margin'"),
        (["strategies.query.options.m=3"], "option of query 'distance_to_boundary' named 'm'"),
        (["learner=os:system"], "importing from 'os' is not allowed"),
        (["learner=querist.registry:os.system"], "is not allowed"),
        (["learner=examples.two_moons.model:Nobody"], "no attribute of examples.two_moons.model"),
        (["driver.run_id=../x"], "a run id has 1 to 64 letters"),
        (["driver.skip_training=true"], "fine_tuning_lr has no effect"),
        (["driver.skip_labeling=true"], "remove one of them"),
        (["strategies.label=null"], "labeling needs strategies.label"),
        (["strategies.query=[]"], "strategies.query"),
        (
            [
                "schedules={group: training, name: per_iteration, "
                "options: {settings: {60000: {batchsize: 3}}}}"
            ],
            "a schedule of training: training.batchsize: there is no key named 'batchsize'",
        ),
    ],
)
def test_a_mistake_in_the_configuration(querist: Run, overrides: list[str], words: str) -> None:
    sets = [part for override in overrides for part in ("--set", override)]
    assert words in refused(querist("run", MOONS, *sets))
    assert not Path("active_learning_logs").exists()


@pytest.mark.parametrize("run_id", ["a/b", "..", "a..b", "", "-x", "x" * 65])
def test_a_run_id_that_is_no_folder_name(querist: Run, run_id: str) -> None:
    words = refused(querist("run", MOONS, f"--run-id={run_id}"))
    assert "a run id has 1 to 64 letters, digits" in words


def test_files_that_are_no_experiments(querist: Run, write: Write) -> None:
    assert "there is no file nowhere.yaml" in refused(querist("run", "nowhere.yaml"))
    assert "not valid YAML" in refused(querist("run", write("a.yaml", "a: [1")))
    assert "holds no mapping" in refused(querist("run", write("b.yaml", "- 1")))


def test_commands_on_runs_that_are_not_there(querist: Run) -> None:
    for command in ("resume", "status", "sync"):
        assert "there is no run 'nobody'" in refused(querist(command, "nobody"))
        assert "a run id has" in refused(querist(command, "../nobody"))


def test_a_run_id_that_is_taken(querist: Run, small_run: SmallRun) -> None:
    root = f"driver.root_log_dir={small_run.cli.root}"
    words = refused(querist("run", MOONS, "--set", root, "--run-id", "small"))
    assert "run small exists already" in words
    assert "querist resume small" in words


def test_a_run_that_is_worked_on(querist: Run, small_run: SmallRun, here: Path) -> None:
    shutil.copytree(small_run.folder, here / "active_learning_logs" / "busy")
    with open(here / "active_learning_logs" / "busy" / "run.lock", "w") as lock:
        json.dump({"pid": 123456, "host": "elsewhere"}, lock)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        for found in (querist("resume", "busy"), querist("run", MOONS, "--run-id", "busy")):
            assert "process 123456 on host elsewhere" in refused(found)
        assert json.loads(querist("status", "busy", "--json")[1])["state"] == (
            "running (process 123456 on host elsewhere)"
        )


def test_unknown_options_and_commands(querist: Run) -> None:
    assert querist("rnu")[0] == 2
    assert querist("run")[0] == 2
    assert querist("run", MOONS, "--nothing")[0] == 2


# Mistakes that are found while the run is made, inside the flow -----------------------------------

POOLS = """
import torch
from querist.pools import TensorPool

def points(n=40, bad=None):
    features = torch.linspace(-1, 1, 2 * n).reshape(n, 2)
    if bad is not None:
        features[3, 1] = float(bad)
    return TensorPool(features, torch.arange(n) % 2, classes=2)

def nothing():
    return TensorPool(torch.empty(0, 2), torch.empty(0, dtype=torch.int64), classes=2)

class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 5)

    def forward(self, x):
        return self.layer(x)

def seven(point):
    return 7

def broken(point):
    raise ZeroDivisionError("the label source is broken")
"""
IN_FLOW = {
    "NaN": (["data.pool={name: 'mine:points', options: {bad: nan}}"], "NaN"),
    "empty": (["data.pool=mine:nothing", "data.initial={count: 1}"], "empty"),
    "one class": (["data.initial.share=0.002"], "the initial labels hold only class"),
    "shape": (["learner=mine:Wide"], "5"),
    "estimator": (
        [
            "learner={name: sklearn, options: {estimator: LogisticRegresion}}",
            "training={}",
        ],
        "LogisticRegression",
    ),
}


@pytest.fixture
def mine(cli: Cli, write: Write) -> Cli:
    write("mine.py", POOLS)
    cli.env["QUERIST_ALLOWED_PACKAGES"] = "mine"
    return cli


@pytest.mark.parametrize("mistake", IN_FLOW)
def test_a_mistake_in_the_data_or_the_model(mine: Cli, mistake: str) -> None:
    overrides, words = IN_FLOW[mistake]
    split = ["data.split={test: 0.3}"] if mistake in ("NaN", "empty") else []
    done = mine(*mine.moons(*ONE_STEP, *split, *overrides))
    assert words in done.says_one_line(2)
    assert done.out == ""
    assert not list(mine.root.glob("*/experiment.yaml"))


def test_a_label_outside_the_classes(mine: Cli) -> None:
    label = "strategies.label={name: callable, options: {function: 'mine:seven'}}"
    done = mine(*mine.moons(*ONE_STEP, label), "--run-id", "seven")
    words = done.says_one_line(done.code)
    assert done.code in (1, 2)
    assert "a label is a class 0 to 1, not 7 for sample" in words
    status = json.loads(mine("status", "seven", "--json").out)
    assert (status["state"], status["labels"], status["pending_requests"]) == ("stopped", 50, 0)
    assert len(status["refused"]) == 10
    assert status["training"]["samples"] > 0
    (line,) = [x for x in mine("status", "seven").out.splitlines() if x.startswith("training ")]
    assert line.endswith(" samples/s")
    assert " %" in line


def test_an_error_in_the_users_code_says_where(mine: Cli) -> None:
    label = "strategies.label={name: callable, options: {function: 'mine:broken'}}"
    done = mine(*mine.moons(*ONE_STEP, label), "--run-id", "broken")
    assert done.code == 1
    assert "ZeroDivisionError: the label source is broken" in done.err
    assert done.err.count("Traceback") <= 1
    # Where in the user's code: on the terminal, or at least in the run's log.
    log = (mine.root / "broken" / "console.log").read_text()
    assert "in broken" in done.err + log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip("a full disk needs `mount`, which is not here")
    if mounted.returncode:
        pytest.skip(f"a full disk needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk(cli: Cli, small_disk: Path) -> None:
    arguments = cli.moons(
        "tracking.enabled=false",
        "driver.checkpoint_interval=1",
        "driver.max_active_learning_steps=60",
        "learner.options.hidden=4000",
        f"driver.root_log_dir={small_disk}",
    )
    words = cli(*arguments, "--run-id", "full").says_one_line(1)
    assert "make room or give access" in words
    before = json.loads(cli("status", "full", "--root", small_disk, "--json").out)
    for folder in sorted((small_disk / "full" / "checkpoints").glob("step_*"))[:-1]:
        shutil.rmtree(folder)
    # Room for a few more: it goes on where it stood, and nothing that was stored is lost.
    again = cli("resume", "full", "--root", small_disk)
    after = json.loads(cli("status", "full", "--root", small_disk, "--json").out)
    assert "make room" in again.says_one_line(1)
    assert after["iterations"] > before["iterations"]
    assert after["labels"] > before["labels"]


# What succeeds ------------------------------------------------------------------------------------


def test_a_run_shows_progress_and_a_summary(small_run: SmallRun) -> None:
    out = small_run.done.out
    assert small_run.done.err == ""
    assert "two-moons: iteration 1 of 4, 50 labels" in out
    assert "two-moons: iteration 4 of 4, 80 labels" in out
    first, last = small_run.records()[0]["f1"], small_run.records()[-1]["f1"]
    assert f"{first:.3f} at first, {last:.3f} at last" in out
    assert "90 (50 at the start, 40 bought)" in out
    assert str(small_run.folder) in out
    assert "prefect server start" in out
    assert f"mlflow ui --backend-store-uri sqlite:///{small_run.cli.root}/mlflow.db" in out


def test_json_is_all_that_is_on_stdout(cli: Cli) -> None:
    done = cli(*cli.moons(*ONE_STEP), "--run-id", "json", "--json")
    assert done.code == 0, done
    summary = json.loads(done.out)
    assert (summary["run_id"], summary["labels"]) == ("json", 60)
    assert summary["wall_seconds"] > 0
    assert "iteration 1 of 1" in done.err

    again = cli("resume", "json", "--json")
    assert json.loads(again.out)["stop_reason"] == "max iterations: 1"


def test_runs_and_status(querist: Run, small_run: SmallRun) -> None:
    root = ("--root", small_run.cli.root)
    assert querist("runs")[:2] == (0, "no runs in active_learning_logs\n")
    code, out, _ = querist("runs", *root)
    assert code == 0
    assert "small" in out
    assert "finished" in out
    (listed,) = json.loads(querist("runs", *root, "--json")[1])
    status = json.loads(querist("status", "small", *root, "--json")[1])
    assert listed == status
    assert status["state"] == "finished"
    assert status["stop_reason"] == "max iterations: 4"
    assert (status["iterations"], status["max_iterations"]) == (4, 4)
    assert (status["labels"], status["labels_bought"], status["label_cost"]) == (90, 40, 40.0)
    assert (status["pending_requests"], status["tracking_pending"]) == (0, 0)
    assert status["tracking_error"] is None
    assert status["metrics"]["f1"] == small_run.records()[-1]["f1"]
    code, out, _ = querist("status", "small", *root)
    assert code == 0
    assert status["folder"] in out
    assert status["mlflow_run_id"] in out


def test_sync_delivers_what_is_left(querist: Run, small_run: SmallRun, here: Path) -> None:
    assert querist("sync", "small", "--root", small_run.cli.root)[:2] == (
        0, "0 events delivered, 0 pending\n",
    )  # fmt: skip


def test_sync_after_the_tracker_was_down(cli: Cli) -> None:
    away = "tracking.uri=http://127.0.0.1:9"
    patient = "tracking.drain_seconds=0"
    done = cli(
        *cli.moons("driver.max_active_learning_steps=1", away, patient),
        "--run-id", "away", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )  # fmt: skip
    assert done.code == 0, done
    status = json.loads(cli("status", "away", "--json").out)
    assert status["tracking_pending"] > 5
    tried = cli("sync", "away", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert tried.code == 1
    assert "error: " in tried.err
    assert "Traceback" not in tried.err


def test_components(querist: Run) -> None:
    code, out, _ = querist("components")
    assert code == 0
    assert all(name in out for name in ("distance_to_boundary", "oracle", "label_budget"))
    found = json.loads(querist("components", "query", "--json")[1])
    assert {"random", "least_confidence", "margin", "entropy", "distance_to_boundary"} <= {
        row["name"] for row in found
    }
    assert {row["kind"] for row in found} == {"query"}
    assert all(row["summary"].endswith(".") for row in found)
    assert "no kind of component named 'quary': did you mean 'query'?" in refused(
        querist("components", "quary")
    )


def test_schema(querist: Run) -> None:
    code, out, _ = querist("schema")
    assert code == 0
    schema = json.loads(out)
    assert set(schema["required"]) == {"name", "data", "learner", "strategies"}
    assert "batch_size" in schema["$defs"]["TrainingConfig"]["properties"]


def test_help_names_every_command(querist: Run) -> None:
    code, out, _ = querist("--help")
    assert code == 0
    for name in ("run", "resume", "runs", "status", "sync", "components", "schema"):
        assert name in out
    assert os.environ["PREFECT_API_URL"]


def test_the_command_line_starts_light() -> None:
    """The server is to start before what takes seconds is imported."""
    code = (
        "import sys, querist.deployments.cli\n"
        "sys.exit(bool({'torch', 'numpy', 'prefect', 'sqlalchemy', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
