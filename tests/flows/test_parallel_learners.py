"""Parallel learners through the command line, with a real Prefect server and MLflow store."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import REPOSITORY, Cli, Done

MOONS: dict[str, Any] = yaml.safe_load(
    (REPOSITORY / "examples" / "two_moons" / "experiment.yaml").read_text()
)
STEPS = 3


def several(*learners: Any, **more: Any) -> dict[str, Any]:
    """A small file of learners of the two moons."""
    training = {
        **MOONS["training"],
        "optimizer": {"name": "SGD", "options": {"lr": 0.2}},
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 3,
    }
    driver = {"max_active_learning_steps": STEPS, "checkpoint_interval": 0}
    return {
        **MOONS,
        "training": training,
        "driver": driver,
        "tracking": {"enabled": False},
        "learners": list(learners),
        **more,
    }


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Callable[..., Done]:
    """Run a file of learners."""

    def make(content: dict[str, Any], *more: str) -> Done:
        (tmp_path / "several.yaml").write_text(yaml.safe_dump(content))
        return cli("run", "several.yaml", "--run-id", "p", *more)

    return make


def result(cli: Cli, parent: str = "p") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cli.root / parent / "result.json").read_text())
    return found


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["reason"] for one in found["learners"]}


def test_each_learner_is_a_run_of_its_own(cli: Cli, run: Any, prefect_home: Path) -> None:
    """In Prefect a subflow, in MLflow a nested run, on disk a folder; they share their labels."""
    content = several(
        {},
        {"name": "greedy", "strategies": {"query": {"name": "margin", "n": 10}}},
        {"name": "short", "stop": {"name": "max_iterations", "options": {"n": 1}}},
        name="several moons",
        tracking={},
        parallel={"selector": {"metric": "f1", "challenger_of": "moons of several"}},
    )
    done = run(content, "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert (found["verdict"], found["reason"]) == ("succeeded", "3 of 3 learners finished")
    assert reasons(found) == {
        "learner_0": f"max iterations: {STEPS}",
        "greedy": f"max iterations: {STEPS}",
        "short": "criterion met: 1 of 1 iterations",
    }
    assert result(cli)["learners"] == json.loads(done.out)["learners"]
    assert found["best"] in reasons(found)
    assert {path.name for path in cli.root.iterdir() if path.is_dir()} >= {
        "p", "p-learner_0", "p-greedy", "p-short",
    }  # fmt: skip
    shared = {one["name"]: one["labels_shared"] for one in found["learners"]}
    assert sum(shared.values()) > 0  # the first learner's queries are much the same as margin's
    with sqlite3.connect(cli.root / "p" / "ledger.db") as ledger:
        paid = "select key from labels where key is not null"
        keys = [key for (key,) in ledger.execute(paid)]
        assert len(keys) == len(set(keys))
    figure = cli.root / "p" / "figures" / "learning_curves.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    with sqlite3.connect(prefect_home / "prefect.db") as prefect:
        names = prefect.execute(
            "select r.name, t.flow_run_id from flow_run r left join task_run t "
            "on t.id = r.parent_task_run_id where r.name like 'several moons%'"
        ).fetchall()
    children = {name for name, parent in names if parent is not None}
    assert {"several moons · learner_0", "several moons · greedy"} <= children
    assert ("several moons", None) in names
    with sqlite3.connect(cli.root / "mlflow.db") as store:
        (challenger,) = store.execute(
            "select v.run_id from registered_model_aliases a join model_versions v "
            "on v.name = a.name and v.version = a.version "
            "where a.name = 'moons of several' and a.alias = 'challenger'"
        ).fetchall()
        names = dict(store.execute("select run_uuid, name from runs").fetchall())
    assert names[challenger[0]].endswith(f"p-{found['best']}")
    assert sorted(nested(cli.root / "mlflow.db")) == [
        ("several moons p", None),
        ("several moons · greedy p-greedy", "several moons p"),
        ("several moons · learner_0 p-learner_0", "several moons p"),
        ("several moons · short p-short", "several moons p"),
    ]


def nested(database: Path) -> list[tuple[str, str | None]]:
    """Every MLflow run with the one that it is nested in."""
    with sqlite3.connect(database) as store:
        names = dict(store.execute("select run_uuid, name from runs").fetchall())
        parents = dict(
            store.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'")
        )
        assert {s for (s,) in store.execute("select status from runs")} == {"FINISHED"}
    return [(name, names.get(parents.get(run))) for run, name in names.items()]


FAILING = '''
"""A training step that fails while the file `broken` is there."""
from pathlib import Path
from torch.nn.functional import binary_cross_entropy_with_logits


def step(model, batch):
    if Path("broken").exists():
        raise ValueError("it broke")
    points, classes = batch
    return binary_cross_entropy_with_logits(model(points)[:, 0], classes.float())
'''


@pytest.fixture
def breaks(write: Any, cli: Cli) -> Path:
    """The file whose presence makes learners with this step fail."""
    write("failing.py", FAILING)
    cli.env["QUERIST_ALLOWED_PACKAGES"] = "failing"
    flag = cli.cwd / "broken"
    flag.touch()
    return flag


BREAKS = {"name": "breaks", "training": {"train_step_fn": "failing:step"}}


def test_one_that_fails_leaves_the_others_alone_and_is_resumed(
    cli: Cli, run: Any, breaks: Path
) -> None:
    done = run(several({"name": "a"}, BREAKS, {"name": "b"}))
    assert done.code == 0, done
    assert "degraded (2 of 3 learners finished; breaks failed: ValueError: it broke)" in done.out
    found = result(cli)
    assert reasons(found)["a"] == reasons(found)["b"] == f"max iterations: {STEPS}"
    before = {n: (cli.root / f"p-{n}" / "summary.json").stat().st_mtime_ns for n in ("a", "b")}
    breaks.unlink()
    again = cli("resume", "p")
    assert again.code == 0, again
    assert "succeeded (3 of 3 learners finished)" in again.out
    assert reasons(result(cli))["breaks"] == f"max iterations: {STEPS}"
    after = {n: (cli.root / f"p-{n}" / "summary.json").stat().st_mtime_ns for n in ("a", "b")}
    assert after == before
    assert cli("status", "p", "--json").code == 0


@pytest.mark.parametrize(
    ("rule", "words"),
    [("fail_fast", "breaks failed: ValueError: it broke"), ({"quorum": 3}, "2 of 3 learners")],
)
def test_the_rule_may_ask_for_more(cli: Cli, run: Any, breaks: Path, rule: Any, words: str) -> None:
    content = several({"name": "a"}, BREAKS, {"name": "b"}, parallel={"on_failure": rule})
    if rule == "fail_fast":
        content["driver"]["max_active_learning_steps"] = 500
        content["strategies"] = {**content["strategies"], "query": {"name": "random", "n": 1}}
    done = run(content)
    assert done.code == 1, done
    assert words in done.err
    assert "querist resume p" in done.err
    assert result(cli)["verdict"] == "failed"
    if rule == "fail_fast":
        assert "stopped: another learner failed" in reasons(result(cli)).values()


def test_one_at_a_time(cli: Cli, run: Any) -> None:
    done = run(several({"name": "a"}, {"name": "b"}, parallel={"max_parallel": 1}))
    assert done.code == 0, done
    logs = [
        [json.loads(line) for line in (cli.root / f"p-{n}" / "driver_log.json").open()]
        for n in ("a", "b")
    ]
    first, second = sorted(logs, key=lambda log: log[0]["time"])
    assert first[-1]["time"] <= second[0]["time"]


def test_a_mistake_is_refused_before_anything_is_made(cli: Cli, run: Any) -> None:
    wrong = {"name": "b", "schedules": [{"group": "training", "name": "static",
             "options": {"settings": {"batch_siz": 3}}}]}  # fmt: skip
    assert "batch_siz" in run(several({}, wrong)).says_one_line(2)
    assert not cli.root.exists()


def test_learners_are_stopped_and_changed_from_outside(cli: Cli, tmp_path: Path) -> None:
    content = several({"name": "a"}, {"name": "b"}, name="steered")
    content["driver"]["max_active_learning_steps"] = 400
    content["strategies"] = {**content["strategies"], "query": {"name": "random", "n": 1}}
    (tmp_path / "several.yaml").write_text(yaml.safe_dump(content))
    process = cli.start("run", "several.yaml", "--run-id", "p", "--json")
    until = time.monotonic() + 60
    while not all((cli.root / f"p-{n}" / "metrology.json").exists() for n in ("a", "b")):
        assert time.monotonic() < until, process.poll()
        time.sleep(0.1)
    assert "no learner nobody" in cli("stop", "p", "--learner", "nobody").says_one_line(2)
    assert "fixed for the run" in cli("set", "p", "training.loss=mse").says_one_line(2)
    assert cli("set", "p", "training.batch_size=5", "--learner", "a").code == 0
    assert cli("stop", "p", "--learner", "b").code == 0
    summary = cli.root / "p-b" / "summary.json"
    while not summary.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert process.poll() is None  # the other one goes on
    assert cli("stop", "p").code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert reasons(found) == {"a": "stopped by user", "b": "stopped by user"}
    assert found["verdict"] == "succeeded"
    with sqlite3.connect(cli.root / "p" / "ledger.db") as ledger:
        rows = ledger.execute(
            "select settings from commits join runs on runs.id = run where run_id = 'p-a' "
            "order by iteration"
        ).fetchall()
    sizes = [json.loads(settings)["training"]["batch_size"] for (settings,) in rows]
    assert sizes[0] == 16
    assert sizes[-1] == 5
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_parallel_run_twice(cli: Cli, tmp_path: Path) -> None:
    content = several({"name": "a"}, {"name": "b"})
    content["driver"]["max_active_learning_steps"] = 30
    (tmp_path / "several.yaml").write_text(yaml.safe_dump(content))
    process = cli.start("run", "several.yaml", "--run-id", "p")
    until = time.monotonic() + 60
    while not (cli.root / "p" / "parallel.yaml").exists():
        assert time.monotonic() < until, process.poll()
        time.sleep(0.05)
    working = "being worked on by process"
    assert working in cli("run", "several.yaml", "--run-id", "p").says_one_line(2)
    assert working in cli("resume", "p").says_one_line(2)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert set(reasons(result(cli)).values()) == {"max iterations: 30"}
    assert "exists already" in cli("run", "several.yaml", "--run-id", "p").says_one_line(2)


def test_ctrl_c_stops_all_of_them_within_seconds_and_they_go_on(cli: Cli, tmp_path: Path) -> None:
    content = several({"name": "a"}, {"name": "b"})
    content["training"]["max_training_epochs"] = 10**6
    (tmp_path / "several.yaml").write_text(yaml.safe_dump(content))
    process = cli.start("run", "several.yaml", "--run-id", "p")
    until = time.monotonic() + 60
    while not all((cli.root / f"p-{n}" / "driver_log.json").exists() for n in ("a", "b")):
        assert time.monotonic() < until, process.poll()
        time.sleep(0.1)
    time.sleep(1)  # in the middle of training
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 1
    assert "`querist resume p`" in err
    states = [s["state"] for s in json.loads(cli("status", "p", "--json").out)]
    assert states == ["stopped", "stopped"]


def test_the_example_as_it_is(cli: Cli) -> None:
    """One learner stops early by its error, and the others go on."""
    example = REPOSITORY / "examples" / "parallel" / "experiment.yaml"
    done = cli("run", str(example), "--set", "tracking.enabled=false", "--run-id", "p")
    assert done.code == 0, done
    found = result(cli)
    assert set(reasons(found)) == {"adaptive", "per_iteration", "constant"}
    assert all(why.startswith("criterion met: mse 0.0") for why in reasons(found).values())
    iterations = {one["name"]: one["iterations"] for one in found["learners"]}
    assert len(set(iterations.values())) > 1
    assert found["best"] == min(iterations, key=lambda name: iterations[name])
    commits = "select settings from commits join runs on runs.id = run where run_id = ? order by 1"
    with sqlite3.connect(cli.root / "p" / "ledger.db") as ledger:
        settings = [json.loads(s) for (s,) in ledger.execute(commits, ["p-adaptive"])]
    noise = {round(s["strategies"]["label"]["options"]["noise"], 6) for s in settings}
    assert {0.1, 0.095, round(0.1 * 0.95**5, 6)} <= noise
    assert {s["training"]["batch_size"] for s in settings} >= {16, 24, 32, 40, 48, 56}
