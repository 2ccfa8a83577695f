"""Four scripts that know nothing of Querist and share files in their working directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from querist.ledger import Ledger, RequestState
from querist.runs.open import LEDGER_FILE

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The folder of a user: four scripts and an experiment."""
    folder = tmp_path / "mine"
    shutil.copytree(HERE / "scripts", folder)
    return folder


def go(start: Path, run_id: str = "run", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "phases_alone.py"), "experiment.yaml", run_id],
        cwd=start, env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "") + os.pathsep
                        + str(REPOSITORY), "QUERIST_ALLOWED_COMMANDS": ".", **env},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def content(start: Path, run_id: str = "run") -> dict[str, Any]:
    folder = start / "active_learning_logs" / run_id
    summary = json.loads((folder / "summary.json").read_text())
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    return {
        "metrology": json.loads((folder / "metrology.json").read_text()),
        "rows": (folder / "work" / "data.csv").read_text().splitlines(),
        "model": (newest / "work.model.json").read_text(),
        "stop": summary["stop_reason"],
        "labels": summary["labels"],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run that nobody kills ends with."""
    folder = tmp_path_factory.mktemp("whole") / "mine"
    shutil.copytree(HERE / "scripts", folder)
    assert go(folder).returncode == 0
    return content(folder)


def test_several_iterations(start: Path) -> None:
    done = go(start)
    assert done.returncode == 0, done.stderr
    found = content(start)
    mse = [record["mse"] for record in found["metrology"]]
    assert len(mse) > 1
    assert mse[-1] < 1e-3 < mse[0]
    assert found["stop"].startswith("criterion met: mse")
    # Four points at first, two in every iteration; one labeled sample each.
    assert len(found["rows"]) == 4 + 2 * len(mse)
    assert found["labels"] == 1 + len(mse)
    assert not list(start.glob("*.csv")), "nothing is written beside the scripts"
    log = (start / "active_learning_logs" / "run" / "console.log").read_text()
    assert "sim.py: simulated 2 points" in log


@pytest.mark.parametrize(
    "point", ["create.ledger", "create.recorded", "train.fitted", "train.recorded:2",
              "metrology.measured", "query.chosen:2", "query.recorded", "label.stored",
              "commit.recorded"]
)  # fmt: skip
def test_killed_and_resumed_between_the_scripts(
    start: Path, whole: dict[str, Any], point: str
) -> None:
    """No label was under way: the run ends as one that was never killed."""
    assert go(start, QUERIST_CRASH_AT=point).returncode == -9
    done = go(start)
    assert done.returncode == 0, done.stderr
    assert content(start) == whole


def test_killed_while_the_model_is_written(start: Path, whole: dict[str, Any]) -> None:
    """A training that is cut off is done again, from the model of the iteration before."""
    train = start / "train.py"
    slow = (
        'if __import__("os").environ["QUERIST_ITERATION"] == "1":\n    file = open("model.json", '
    )
    slow += '"w")\n    file.write("[half"), file.flush(), open("here", "w")\n    import time\n'
    slow += '    time.sleep(1000) if not __import__("os").path.exists("again") else None\n'
    train.write_text(slow + train.read_text())
    process = subprocess.Popen(
        [sys.executable, str(HERE / "phases_alone.py"), "experiment.yaml", "run"], cwd=start,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "") + os.pathsep
             + str(REPOSITORY), "QUERIST_ALLOWED_COMMANDS": "."},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    work = start / "active_learning_logs" / "run" / "work"
    deadline = time.monotonic() + 60
    while not (work / "here").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    (work / "again").write_text("")
    assert go(start).returncode == 0
    assert content(start) == whole


def in_doubt(start: Path) -> int:
    ledger = Ledger(start / "active_learning_logs" / "run" / LEDGER_FILE, "run")
    try:
        ledger.open()
        return sum(request.state is RequestState.IN_DOUBT for request in ledger.requests())
    finally:
        ledger.close()


def test_killed_after_a_simulation_and_before_its_label_is_stored(start: Path) -> None:
    """Whether it was done is for a person to say, unless running it again costs nothing."""
    assert go(start, QUERIST_CRASH_AT="label.bought").returncode == -9
    done = go(start)
    assert done.returncode == 0, done.stderr
    assert in_doubt(start) == 1
    assert len(content(start)["rows"]) >= 6


def test_a_simulation_that_may_be_repeated_is(start: Path) -> None:
    file = start / "experiment.yaml"
    file.write_text(file.read_text().replace("cores: 1}", "cores: 1, asks_by_key: true}"))
    assert go(start, QUERIST_CRASH_AT="label.bought").returncode == -9
    done = go(start)
    assert done.returncode == 0, done.stderr
    assert in_doubt(start) == 0


def test_refused_where_the_operator_allows_nothing(start: Path) -> None:
    done = go(start, QUERIST_ALLOWED_COMMANDS="")
    assert "running 'python sim.py' is not allowed" in done.stderr
    assert not (start / "active_learning_logs" / "run").exists()


def test_an_initial_command_that_fails_leaves_no_run(start: Path) -> None:
    (start / "sim.py").write_text("raise SystemExit('no licence')")
    done = go(start)
    assert "the command sim.py ended with exit code 1" in done.stderr
    assert "no licence" in done.stderr
    assert not (start / "active_learning_logs" / "run").exists()


def test_a_folder_named_work_of_somebody_else_is_left_alone(start: Path) -> None:
    theirs = start / "active_learning_logs" / "run" / "work"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("years")
    done = go(start)
    assert "is there and is no run of Querist (it holds 'work')" in done.stderr
    assert (theirs / "thesis.txt").exists()
