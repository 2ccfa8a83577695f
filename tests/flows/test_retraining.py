"""The retraining flow with a real Prefect server and a real MLflow store, from the command line."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from tests.shared.models import SETTINGS, TORCH, Place, blob

from ..conftest import Cli, Done

STEPS = ["compare", "evaluate", "new version", "promote", "pull", "split", "train"]


@dataclass(frozen=True)
class Blobs:
    """A registered model that is retrained by commands.

    Attributes:
        cli: the command line, in the folder with its items.
        prefect: the Prefect server's database.
    """

    cli: Cli
    prefect: Path

    @property
    def place(self) -> Place:
        return Place(self.cli.cwd)

    def write(self, **changes: Any) -> None:
        content = {
            **SETTINGS, **TORCH, "root_log_dir": "active_learning_logs", "tracking": {}, **changes
        }  # fmt: skip
        content["data"] = {**SETTINGS["data"], **changes.get("data", {})}
        source = {"name": "files", "options": {"folder": "items", "classes": 2}}
        content["data"]["source"] = changes.get("source", source)
        content.pop("source", None)
        (self.cli.cwd / "blobs.yaml").write_text(yaml.safe_dump(content))

    def __call__(self, *arguments: str) -> dict[str, Any]:
        done = self.cli("retrain", "blobs.yaml", "--json", *arguments)
        assert done.code == 0, done
        found: dict[str, Any] = json.loads(done.out)
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.prefect) as connection:
            return connection.execute(query).fetchall()

    def emitted(self, event: str) -> dict[str, Any]:
        """The newest event of this name; Prefect's server writes events a moment later."""
        query = f"select payload from events where event = '{event}' order by occurred desc"
        until = time.monotonic() + 30
        while not (found := self.rows(query)):
            assert time.monotonic() < until, f"no event {event} came"
            time.sleep(0.2)
        payload: dict[str, Any] = json.loads(found[0][0])
        return payload

    @property
    def tracker(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.cli.root / 'mlflow.db'}")


@pytest.fixture
def blobs(cli: Cli, prefect_home: Path) -> Blobs:
    """Sixty items, nothing learned yet."""
    found = Blobs(cli, prefect_home / "prefect.db")
    found.place.add(blob(number) for number in range(60))
    found.write()
    return found


def test_promoted_then_nothing_new_then_discarded(blobs: Blobs) -> None:
    first = blobs()
    assert (first["outcome"], first["version"], first["champion"]) == ("promoted", 1, 1)
    again = blobs()
    assert (again["outcome"], again["version"], again["champion"]) == ("nothing new", None, 1)
    assert again["reason"] == "nothing to learn: no new label"
    blobs.write(compare={"checks": [{"metric": "accuracy", "min_delta": 0.9}], "wins": "all"})
    blobs.place.add(blob(number) for number in range(100, 110))
    third = blobs()
    assert (third["outcome"], third["version"], third["champion"]) == ("discarded", 2, 1)

    states = [row[0] for row in blobs.rows("select state_name from flow_run where name = 'blobs'")]
    assert sorted(states[-3:]) == ["Discarded", "Nothing new", "Promoted"]
    _check_prefect(blobs)
    _check_mlflow(blobs)


def _check_prefect(blobs: Blobs) -> None:
    tasks = blobs.rows(
        "select t.name from task_run t join flow_run f on f.id = t.flow_run_id "
        "where f.state_name = 'Discarded' and f.name = 'blobs'"
    )
    names = sorted(name.partition(" · ")[0] for (name,) in tasks)
    assert names == STEPS
    tables = blobs.rows(
        "select data from artifact where key = 'verdict-table-blobs' order by created"
    )
    rows = json.loads(json.loads(tables[-1][0]))
    assert rows[0]["sub-comparison"] == "accuracy"
    assert rows[0]["outcome"] == "lost"
    assert blobs.emitted("querist.model.promoted")["version"] == 1
    assert blobs.emitted("querist.model.discarded")["version"] == 2


def _check_mlflow(blobs: Blobs) -> None:
    tracker = blobs.tracker
    assert tracker.get_registered_model("blobs").aliases == {"champion": 1}
    by_number = {v.tags["querist.version"]: v for v in tracker.search_model_versions()}
    assert by_number["2"].tags["querist.verdict"] == "discarded"
    assert "accuracy" in by_number["2"].tags["querist.reason"]
    assert by_number["2"].tags["querist.parent"] == "1"
    run = tracker.get_run(by_number["2"].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["querist.data_fingerprint"]
    assert {"test.accuracy", "test.champion.accuracy", "train.loss"} <= set(run.data.metrics)
    curve = tracker.get_metric_history(run.info.run_id, "train.loss")
    assert [point.step for point in curve] == [1, 2]
    assert {"train.lr", "train.seconds.forward", "train.samples_per_second"} <= set(
        run.data.metrics
    )
    artifacts = {file.path for file in tracker.list_artifacts(run.info.run_id)}
    assert {"verdict.json", "verdict.md", "settings.yaml", "figures"} <= artifacts


def test_rollback_and_what_the_registry_says_then(blobs: Blobs) -> None:
    blobs.write(compare={"wins": 0.0, "checks": [{"metric": "accuracy"}]}, when={"new_labels": 0})
    assert blobs("--window", "one")["champion"] == 1
    assert blobs("--window", "two")["champion"] == 2
    assert blobs("--window", "two")["outcome"] == "nothing new"
    done = blobs.cli("rollback", "blobs", "--reason", "too slow")
    assert done.code == 0, done
    assert done.out.strip() == "champion of blobs is version 1 again, 2 was it before"
    model = blobs.tracker.get_registered_model("blobs")
    assert model.aliases == {"champion": 1}
    left = blobs.tracker.get_model_version("blobs", "2").tags
    assert (left["querist.verdict"], left["querist.reason"]) == ("rolled back from", "too slow")
    assert blobs.emitted("querist.model.rolled-back")["reason"] == "too slow"
    told = json.loads(blobs.cli("models", "blobs", "--json").out)
    assert [e["event"] for e in told["history"]] == ["promoted", "promoted", "rolled-back"]


def test_somebody_moved_the_champion_in_mlflow(blobs: Blobs) -> None:
    blobs.write(compare={"wins": 0.0, "checks": [{"metric": "accuracy"}]}, when={"new_labels": 0})
    blobs("--window", "one")
    blobs("--window", "two")
    blobs.tracker.set_registered_model_alias("blobs", "champion", "1")
    done = blobs.cli("sync", "blobs")
    assert done.code == 0, done
    assert "pointed to version 1 of MLflow" in done.err
    assert blobs.tracker.get_registered_model("blobs").aliases == {"champion": 2}


def test_labels_are_collected_first(blobs: Blobs) -> None:
    experiment = {
        "name": "labels", "data": {"pool": "digits", "split": {"test": 0.2},
                                   "initial": {"count": 60, "stratify": True}},
        "learner": {"name": "sklearn", "options": {"estimator": "GaussianNB"}},
        "strategies": {"query": {"name": "random", "n": 20}, "label": "oracle",
                       "metrology": "accuracy"},
    }  # fmt: skip
    blobs.write(
        source={"name": "labeled_run", "options": {"run_id": "labels"}},
        collect={"run_id": "labels", "experiment": experiment},
        learner={"name": "sklearn", "options": {"estimator": "GaussianNB"}},
        data={"split": {"subsets": {"train": 0.9, "test": 0.1}}},
    )
    first, second = blobs(), blobs()
    assert (first["version"], second["version"]) == (1, 2)
    assert second["labeled"] - first["labeled"] == 20
    assert second["new_labels"] == 20


def test_two_at_once_wait_or_skip(blobs: Blobs) -> None:
    blobs.write(
        training={**TORCH["training"], "max_training_epochs": 300}, tracking={"enabled": False}
    )
    processes = [blobs.cli.start("retrain", "blobs.yaml", "--json") for _ in range(2)]
    ends = [Done(0, *process.communicate(timeout=120)) for process in processes]
    outcomes = sorted(json.loads(end.out)["outcome"] for end in ends)
    assert outcomes == ["nothing new", "promoted"]


def test_mistakes_are_one_line(blobs: Blobs) -> None:
    blobs.write(metrology=["accurracy"])
    words = blobs.cli("retrain", "blobs.yaml").says_one_line(2)
    assert "did you mean 'accuracy'" in words
    words = blobs.cli("rollback", "nobody").says_one_line(2)
    assert "there is no model 'nobody'" in words
    assert "there is no file" in blobs.cli("retrain", "nothing.yaml").says_one_line(2)
    assert blobs.cli("models").out.strip() == "no registered models in active_learning_logs"


def test_any_version_against_the_champion(blobs: Blobs, prefect_server: Any) -> None:
    blobs.write(when={"new_labels": 0}, compare={"wins": 0.0, "checks": [{"metric": "accuracy"}]})
    blobs("--window", "one")
    blobs("--window", "two")
    script = (
        "import asyncio, json\n"
        "from querist.flows import model_comparison\n"
        "print(json.dumps(asyncio.run(model_comparison('blobs', 1))))\n"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=blobs.cli.cwd, env=blobs.cli.env,
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (found["challenger"], found["champion"]) == (1, 2)
    assert found["winning_model"] in (1, 2)
    assert found["action"] in ("update_model", "discard")
