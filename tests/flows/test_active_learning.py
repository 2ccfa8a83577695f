"""The main flow with a real Prefect server and a real MLflow store, as a new user runs it."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.config import Experiment
from querist.config.load import apply_overrides, build_experiment, load_experiment, read_yaml

from ..conftest import MOONS, SMALL, Cli, SmallRun, environment

TASKS = {"train", "metrology", "query", "label"}


def rows(database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query, values).fetchall()


# What Prefect keeps -------------------------------------------------------------------------------


def test_one_flow_run_and_one_per_iteration(small_run: SmallRun) -> None:
    query = "select f.name, r.name, r.state_type from flow_run r join flow f on f.id = r.flow_id"
    found = sorted(rows(small_run.database, query))
    assert found == [
        ("active_learning", "two-moons", "COMPLETED"),
        *(
            ("iteration", f"two-moons · iteration {i} · {50 + 10 * i} labels", "COMPLETED")
            for i in range(4)
        ),
    ]


def test_four_task_runs_in_each_iteration_and_none_is_lost(small_run: SmallRun) -> None:
    query = """
        select r.name, t.name, t.state_type, t.start_time, t.end_time
        from task_run t join flow_run r on r.id = t.flow_run_id
    """
    found = rows(small_run.database, query)
    assert {state for _, _, state, *_ in found} == {"COMPLETED"}
    assert all(start and end for *_, start, end in found)
    for i in range(4):
        flow = f"two-moons · iteration {i} · {50 + 10 * i} labels"
        names = [name for of, name, *_ in found if of == flow]
        assert sorted(names) == sorted(f"{task} · iteration {i}" for task in TASKS)
    assert "conclude · small" in {name for of, name, *_ in found if of == "two-moons"}


def test_parameters_are_small(small_run: SmallRun) -> None:
    for (parameters,) in rows(small_run.database, "select parameters from flow_run"):
        assert len(parameters) < 4000
    iterations = rows(
        small_run.database, "select parameters from flow_run where name like '%iteration 2%'"
    )
    assert json.loads(iterations[0][0]) == {
        "run": {"run_id": "small", "root": str(small_run.cli.root)},
        "iteration": 2,
        "name": "two-moons",
        "labels": 70,
    }


def test_artifacts_show_progress_curve_and_summary(small_run: SmallRun) -> None:
    found = rows(small_run.database, "select type, key, data from artifact where type is not null")
    by_type = {kind: (key, json.loads(str(data))) for kind, key, data in found}
    assert set(by_type) == {"progress", "table", "markdown"}
    assert by_type["progress"][1] == 100.0
    key, table = by_type["table"]
    assert key == "learning-curve-small"
    table = json.loads(table) if isinstance(table, str) else table
    assert [row["num_train_samples"] for row in table] == [50, 60, 70, 80]
    assert all(0 <= row["f1"] <= 1 for row in table)
    key, text = by_type["markdown"]
    assert key == "summary-small"
    assert "max iterations: 4" in text
    assert "90 (40 bought)" in text
    assert re.search(r"- time of training: .*\d+ %.*; [\d,.]+ samples/s", text)


def test_the_log_is_in_the_ui(small_run: SmallRun) -> None:
    messages = " ".join(text for (text,) in rows(small_run.database, "select message from log"))
    assert "trained on 50 labels" in messages


# What MLflow keeps --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked(small_run: SmallRun) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{small_run.cli.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("two-moons")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def test_metrics_by_iteration_and_by_labels(tracked: Any, small_run: SmallRun) -> None:
    client, run = tracked
    expected = [record["f1"] for record in small_run.records()]
    by_iteration = client.get_metric_history(run.info.run_id, "f1")
    assert [(p.step, p.value) for p in by_iteration] == list(enumerate(expected))
    by_labels = client.get_metric_history(run.info.run_id, "f1_by_labels")
    assert [(p.step, p.value) for p in by_labels] == list(
        zip((50, 60, 70, 80), expected, strict=True)
    )
    assert {"precision", "recall", "train_loss", "labels", "seconds_train"} <= set(run.data.metrics)
    assert {"train.seconds.forward", "train.samples_per_second"} <= set(run.data.metrics)


def test_the_curve_of_all_trainings(tracked: Any) -> None:
    client, run = tracked
    curve = client.get_metric_history(run.info.run_id, "train.loss")
    assert [point.step for point in curve] == list(range(1, 12 + 3 * 4 + 1))
    last = client.get_metric_history(run.info.run_id, "train_loss")[-1]
    assert curve[-1].value == last.value


def test_parameters_tags_and_data_set(tracked: Any, small_run: SmallRun) -> None:
    _, run = tracked
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "two-moons small"
    assert run.data.params["training.optimizer.options.lr"] == "0.2"
    assert run.data.params["seed"] == "216167"
    assert run.data.tags["querist.run_id"] == "small"
    assert run.data.tags["querist.stop_reason"] == "max iterations: 4"
    assert len(run.data.tags["querist.data_fingerprint"]) == 64
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "examples.two_moons.data:moons_pool"


def test_artifacts(tracked: Any, small_run: SmallRun) -> None:
    client, run = tracked
    top = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"experiment.yaml", "f1_metrology.json", "summary.json", "figures"} <= top
    figures = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"figures/learning_curve.png", "figures/decision_boundary.png"}


def test_the_final_model_loads_elsewhere_and_predicts_the_same(
    tracked: Any, small_run: SmallRun, tmp_path: Path
) -> None:
    client, run = tracked
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"
    script = f"""
import sys, numpy, mlflow
mlflow.set_tracking_uri("sqlite:///{small_run.cli.root / "mlflow.db"}")
model = mlflow.pyfunc.load_model("{model.model_uri}")
assert model.metadata.signature is not None
assert model.input_example is not None
points = numpy.array([[0.1, 0.9], [1.0, -0.4], [0.5, 0.25]], dtype=numpy.float32)
numpy.save("predicted.npy", numpy.asarray(model.predict(points)))
"""
    environ = environment(PYTHONPATH="")  # the model brings the user's code along
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, check=True, timeout=120
    )
    import numpy as np

    from querist.learners.build import build_learner
    from querist.runs.checkpoints import read_checkpoint

    predicted = np.load(tmp_path / "predicted.npy")
    experiment = load_experiment(small_run.folder / "experiment.yaml")
    points = torch.tensor([[0.1, 0.9], [1.0, -0.4], [0.5, 0.25]])
    learner = build_learner(experiment, classes=2, sample=points[:1])
    learner.load_state_files(read_checkpoint(small_run.folder / "checkpoints" / "step_0003")[0])
    expected = learner.predict_proba(points).numpy()
    if predicted.ndim == 1:
        expected = expected.argmax(1)
    np.testing.assert_array_equal(predicted, expected)


# What the run's folder keeps ----------------------------------------------------------------------


def test_the_folder(small_run: SmallRun) -> None:
    names = {path.name for path in small_run.folder.iterdir()}
    assert {
        "experiment.yaml", "ledger.db", "checkpoints", "f1_metrology.json", "driver_log.json",
        "console.log", "figures",
    } <= names  # fmt: skip
    checkpoints = sorted(path.name for path in (small_run.folder / "checkpoints").iterdir())
    assert checkpoints == ["step_0001", "step_0003"]
    files = {path.name for path in (small_run.folder / "checkpoints" / "step_0003").iterdir()}
    assert files == {"weights.safetensors", "training_state.pt", "manifest.json"}
    for line in (small_run.folder / "driver_log.json").read_text().splitlines():
        assert {"time", "iteration", "phase", "event", "seconds"} <= set(json.loads(line))
    assert "trained on 50 labels" in (small_run.folder / "console.log").read_text()


def test_one_record_an_iteration(small_run: SmallRun) -> None:
    records = small_run.records()
    assert [set(r) for r in records] == [
        {"step", "num_train_samples", "precision", "recall", "f1"}
    ] * 4
    assert [(r["step"], r["num_train_samples"]) for r in records] == [
        (0, 50), (1, 60), (2, 70), (3, 80),
    ]  # fmt: skip


def test_the_configuration_runs_again(small_run: SmallRun) -> None:
    resolved = load_experiment(small_run.folder / "experiment.yaml")
    given = build_experiment(
        apply_overrides(
            read_yaml(MOONS),
            [*SMALL, "driver.max_active_learning_steps=4", "driver.checkpoint_interval=2"],
        )
    )
    assert resolved == given
    head = (small_run.folder / "experiment.yaml").read_text().splitlines()[0]
    assert "torch" in head
    assert "querist" in head


# Parameters as the UI sends them ------------------------------------------------------------------


def plain(**changes: Any) -> dict[str, Any]:
    overrides = [*SMALL, "driver.max_active_learning_steps=1"]
    content = apply_overrides(read_yaml(MOONS), overrides)
    return {**content, "tracking": {"enabled": False}, **changes}


def test_plain_dictionaries_become_an_experiment() -> None:
    from querist.flows import active_learning

    found = active_learning.validate_parameters({"experiment": plain(), "run_id": "from-ui"})
    assert isinstance(found["experiment"], Experiment)
    assert found["experiment"].strategies.query[0].name == "distance_to_boundary"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"experiment": plain(epochs=3)}, "Extra inputs are not permitted"),
        ({"experiment": plain(training={"epochs": 3})}, "Extra inputs are not permitted"),
        ({"experiment": plain(), "run_id": "../x"}, "a run id has 1 to 64 letters"),
        ({"experiment": plain(seed=-1)}, "greater than or equal to 0"),
        ({"experiment": plain(), "runid": "x"}, "run"),
    ],
)
def test_what_the_form_may_not_send(parameters: dict[str, Any], words: str) -> None:
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError

    from querist.flows import active_learning

    with pytest.raises((ParameterTypeError, SignatureMismatchError), match=words):
        active_learning.validate_parameters(parameters)


def test_the_form_has_descriptions_and_ranges() -> None:
    from querist.flows import active_learning

    schema = active_learning.parameters.model_dump()
    definitions = schema["definitions"]
    assert schema["required"] == ["experiment"]
    seed = definitions["Experiment"]["properties"]["seed"]
    assert seed["minimum"] == 0
    assert "randomness" in seed["description"]
    assert definitions["Experiment"]["additionalProperties"] is False


def test_a_flow_called_with_plain_dictionaries_runs(
    prefect_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from querist.deployments.embedded_server import prefect_api
    from querist.flows import active_learning

    monkeypatch.chdir(tmp_path)
    with prefect_api(prefect_server):
        summary = asyncio.run(active_learning(plain(), "from-ui"))  # type: ignore[arg-type]
    assert summary.run_id == "from-ui"
    assert summary.labels == 60
    assert (tmp_path / "active_learning_logs" / "from-ui" / "summary.json").exists()


# Flags --------------------------------------------------------------------------------------------


def test_a_skipped_phase_has_no_task(cli: Cli, prefect_home: Path) -> None:
    overrides = (
        "name=skipping",
        "driver.max_active_learning_steps=2",
        "driver.skip_training=true",
        "training={loss: bce_with_logits}",
        "driver.skip_labeling=true",
        "strategies.label=null",
        "tracking.enabled=false",
    )
    done = cli("run", MOONS, *(part for o in overrides for part in ("--set", o)))
    assert done.code == 0, done
    assert "50 (50 at the start, 0 bought)" in done.out
    query = """
        select t.name from task_run t join flow_run r on r.id = t.flow_run_id
        where r.name like 'skipping · %'
    """

    def names() -> set[str]:
        return {name for (name,) in rows(prefect_home / "prefect.db", query)}

    import time

    for _ in range(100):  # the server writes task runs down once a second
        if len(names()) == 4:
            break
        time.sleep(0.05)
    assert names() == {f"{task} · iteration {i}" for task in ("metrology", "query") for i in (0, 1)}
