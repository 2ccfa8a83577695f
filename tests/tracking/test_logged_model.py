"""Models from code: logged without a pickle, loaded in another process and folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from querist.config.load import build_experiment
from querist.learners.build import build_learner
from querist.protocols import Learner
from querist.runs.checkpoints import Checkpoints
from querist.tracking.deliver import deliver
from querist.tracking.progress import PROGRESS_FILE
from querist.tracking.spool import TrackingSpool

from .conftest import Start

ROOT = Path(__file__).parents[2]
NET = """
import torch
from my_nets.layers import WIDTH

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, WIDTH)

    def forward(self, x):
        return self.layer(x)
"""
LOAD = """
import json, sys
import numpy as np
import pandas as pd
import mlflow.pyfunc
uri, tracking, features = sys.argv[1:]
mlflow.set_tracking_uri(tracking)
model = mlflow.pyfunc.load_model(uri)
given = np.load(features)
inner = model.unwrap_python_model()
import torch
assert torch.is_tensor(torch.from_numpy(given))
print(json.dumps({
    "array": model.predict(given).tolist(),
    "frame": model.predict(pd.DataFrame(given)).tolist(),
    "tensor": inner.predict(None, torch.from_numpy(given)).tolist(),
    "dtype": str(model.predict(given).dtype),
    "schema": model.metadata.signature.to_dict(),
    "modules": sorted(m for m in sys.modules if m.split(".")[0] in ("my_nets", "examples")),
    "allowed": __import__("os").environ.get("QUERIST_ALLOWED_PACKAGES"),
}))
"""


def experiment(learner: dict[str, Any], pool: str = "digits") -> dict[str, Any]:
    return {
        "name": "m",
        "data": {"pool": {"name": pool}},
        "learner": learner,
        "strategies": {
            "query": [{"name": "random", "n": 5}],
            "label": {"name": "oracle"},
            "metrology": [{"name": "accuracy"}],
        },
    }


def write_model(
    folder: Path, content: dict[str, Any], classes: int | None, step: int = 3
) -> tuple[Learner, torch.Tensor]:
    """A checkpoint with first weights, the experiment and the examples, as a run writes them."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    features = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    learner = build_learner(build_experiment(content), classes=classes, sample=features[:1])
    about = {"classes": classes, "features": [2], "features_dtype": "float32"}
    Checkpoints(folder / "checkpoints").save(step, learner.state_files(), about)
    outputs = learner.predict_proba(features) if classes else learner.predict(features)
    np.save(folder / "in.npy", features.numpy())
    np.save(folder / "out.npy", outputs.numpy())
    return learner, features


def model_event(step: int = 3) -> dict[str, Any]:
    return {
        "checkpoint": f"checkpoints/step_{step:04d}",
        "experiment_file": "experiment.yaml",
        "input_example": "in.npy",
        "output_example": "out.npy",
        "name": "model",
        "step": step,
    }


def models(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    experiment_id = client.get_run(run_id).info.experiment_id
    return list(client.search_logged_models([experiment_id]))


def outputs(client: MlflowClient, run_id: str) -> list[tuple[str, int]]:
    found = client.get_run(run_id).outputs
    assert found is not None
    return [(output.model_id, output.step) for output in found.model_outputs]


def load_elsewhere(
    model: LoggedModel, uri: str, features: Path, cwd: Path, **environment: str
) -> dict[str, Any]:
    """Load and predict in a fresh process that knows querist and nothing of the project."""
    env = {k: v for k, v in os.environ.items() if k != "QUERIST_ALLOWED_PACKAGES"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"models:/{model.model_id}", uri, str(features)],
        cwd=cwd,
        env={**env, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "project" / "my_nets"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "layers.py").write_text("WIDTH = 3\n")
    (home / "model.py").write_text(NET)
    monkeypatch.chdir(home.parent)
    monkeypatch.syspath_prepend(str(home.parent))
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "my_nets")
    for name in [m for m in sys.modules if m.partition(".")[0] == "my_nets"]:
        monkeypatch.delitem(sys.modules, name)
    return home


def test_a_model_of_a_user_package_is_loaded_where_the_package_is_not(
    spool: TrackingSpool,
    start: Start,
    client: MlflowClient,
    uri: str,
    package: Path,
    tmp_path: Path,
) -> None:
    learner, features = write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    spool.append("start", **start())
    spool.append("metrics", step=2, values={"f1": 0.5})
    spool.append("metrics", step=3, values={"f1": 0.75})
    spool.append("metrics", step=3, values={"f1_by_labels": 0.25})
    spool.append("model", **model_event())
    report = deliver(spool.folder)
    assert (report.error, report.problems) == (None, ())
    (model,) = models(client, str(report.mlflow_run_id))
    assert (model.name, str(model.status)) == ("model", "READY")
    assert model.source_run_id == report.mlflow_run_id
    assert model.params == {"seed": "7", "training.lr": "0.01"}
    assert [(m.key, m.value, m.step) for m in model.metrics or ()] == [("f1", 0.75, 3)]
    run = client.get_run(str(report.mlflow_run_id))
    assert outputs(client, run.info.run_id) == [(model.model_id, 3)]
    assert [m.value for m in client.get_metric_history(run.info.run_id, "f1")] == [0.5, 0.75]

    shutil.rmtree(package.parent)
    shutil.rmtree(spool.folder / "checkpoints")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = load_elsewhere(model, uri, spool.folder / "in.npy", elsewhere)
    expected = learner.predict_proba(features).double().numpy()
    for kind in ("array", "frame", "tensor"):
        np.testing.assert_array_equal(np.array(found[kind]), expected)
    assert found["dtype"] == "float64"
    assert found["modules"] == ["my_nets", "my_nets.layers", "my_nets.model"]
    assert found["allowed"] is None


def test_a_logged_model_holds_no_pickle_and_only_what_it_needs(
    spool: TrackingSpool, start: Start, client: MlflowClient, package: Path
) -> None:
    (package.parent / "uv.lock").write_text("version = 1\n")
    (package.parent / "pyproject.toml").write_text("[project]\nname = 'secret'\n")
    write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    spool.append("start", **start())
    spool.append("model", **model_event())
    report = deliver(spool.folder)
    (model,) = models(client, str(report.mlflow_run_id))
    home = Path(model.artifact_location.removeprefix("file://"))
    files = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    assert not [f for f in files if f.endswith((".pkl", ".pickle", ".pyc", ".lock"))]
    for name in [f for f in files if f.endswith(".pt")]:
        torch.load(home / name, weights_only=True)  # training state: data, no code
    assert {f for f in files if f.endswith(".py")} == {
        "model_from_code.py", "code/my_nets/__init__.py", "code/my_nets/layers.py",
        "code/my_nets/model.py",
    }  # fmt: skip
    assert "pyproject.toml" not in files
    required = (home / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.partition('+')[0]}" in required
    assert f"numpy=={np.__version__}" in required
    assert sum(line.startswith("mlflow") for line in required) == 1


@pytest.mark.parametrize(
    ("learner", "pool", "classes"),
    [
        ({"name": "examples.two_moons.model:MoonClassifier"}, "digits", 2),
        (
            {"name": "examples.two_moons.model:MoonClassifier"},
            "examples.two_moons.data:moons",
            None,
        ),
    ],
)
def test_classification_and_regression(
    spool: TrackingSpool, start: Start, client: MlflowClient, uri: str, tmp_path: Path,
    learner: dict[str, Any], pool: str, classes: int | None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(ROOT)
    made, features = write_model(spool.folder, experiment(learner, pool), classes)
    spool.append("start", **start())
    spool.append("model", **model_event())
    report = deliver(spool.folder)
    assert (report.error, report.problems) == (None, ())
    (model,) = models(client, str(report.mlflow_run_id))
    found = load_elsewhere(model, uri, spool.folder / "in.npy", tmp_path)
    expected = made.predict_proba(features) if classes else made.predict(features)
    np.testing.assert_array_equal(np.array(found["array"]), expected.double().numpy())


def test_a_model_is_there_once_however_often_it_is_delivered(
    spool: TrackingSpool, start: Start, client: MlflowClient, package: Path
) -> None:
    write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    spool.append("start", **start())
    spool.append("metrics", step=3, values={"f1": 0.75})
    spool.append("model", **model_event())
    for _ in range(3):
        report = deliver(spool.folder)
        (spool.folder / PROGRESS_FILE).unlink()
    (model,) = models(client, str(report.mlflow_run_id))
    assert len(model.metrics or ()) == 1
    assert outputs(client, str(report.mlflow_run_id)) == [(model.model_id, 3)]


def test_a_deliverer_killed_while_it_logs_a_model_is_made_good(
    spool: TrackingSpool,
    start: Start,
    client: MlflowClient,
    uri: str,
    package: Path,
    tmp_path: Path,
) -> None:
    learner, features = write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    spool.append("start", **start())
    run_id = str(deliver(spool.folder).mlflow_run_id)
    spool.append("model", **model_event())
    command = [sys.executable, "-m", "querist.tracking.deliver", str(spool.folder)]
    process = subprocess.Popen(command)
    while not models(client, run_id):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [str(model.status) for model in models(client, run_id)] == ["PENDING"]
    assert deliver(spool.folder).error is None
    (model,) = models(client, run_id)
    assert str(model.status) == "READY"
    assert outputs(client, run_id) == [(model.model_id, 3)]
    found = load_elsewhere(model, uri, spool.folder / "in.npy", tmp_path)
    expected = learner.predict_proba(features).double().numpy()
    np.testing.assert_array_equal(np.array(found["array"]), expected)


def test_a_model_that_cannot_be_made_is_named_and_the_rest_goes_on(
    spool: TrackingSpool, start: Start, client: MlflowClient, package: Path
) -> None:
    write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    np.save(spool.folder / "out.npy", np.array([{"a": object()}], dtype=object), allow_pickle=True)
    spool.append("start", **start())
    spool.append("model", **model_event())
    spool.append("end", status="FINISHED")
    report = deliver(spool.folder)
    assert (report.error, report.pending) == (None, 0)
    (problem,) = report.problems
    assert "event 2 (model): the model of step 3 cannot be logged" in problem
    assert "allow_pickle=False" in problem
    (model,) = models(client, str(report.mlflow_run_id))
    assert str(model.status) == "FAILED"
    assert client.get_run(str(report.mlflow_run_id)).info.status == "FINISHED"


def test_a_package_that_is_gone_is_named(
    spool: TrackingSpool, start: Start, client: MlflowClient, package: Path
) -> None:
    write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    (package / "model.py").unlink()
    package.rename(package.with_name("renamed"))
    for name in [m for m in sys.modules if m.partition(".")[0] == "my_nets"]:
        del sys.modules[name]
    spool.append("start", **start())
    spool.append("model", **model_event())
    (problem,) = deliver(spool.folder).problems
    assert "the code of 'my_nets' was not found" in problem


def test_logging_a_model_does_not_import_torch_or_the_model(
    spool: TrackingSpool, start: Start, uri: str, package: Path
) -> None:
    write_model(spool.folder, experiment({"name": "my_nets.model:Net"}), 3)
    spool.append("start", **start())
    spool.append("model", **model_event())
    code = (
        "import sys, pathlib; from querist.tracking.deliver import deliver\n"
        f"assert deliver(pathlib.Path({str(spool.folder)!r})).error is None\n"
        "print(sorted({'torch', 'my_nets', 'sklearn', 'querist.learners'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""
