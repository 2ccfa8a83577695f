"""Versions and aliases through spools: one for each version, delivered in any order, and again."""

from __future__ import annotations

import json
import os
import shutil
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

from querist.learners.build import build_learner
from querist.learners.restore import read_settings
from querist.runs.checkpoints import Checkpoints
from querist.tracking.courier import Courier
from querist.tracking.deliver import deliver
from querist.tracking.progress import PROGRESS_FILE
from querist.tracking.registered import MODEL_TAG
from querist.tracking.spool import TrackingSpool

from .conftest import Start
from .test_deliver import free_port, server
from .test_logged_model import ROOT, load_elsewhere

NAME = "digits of the week"
LEARNER = {"name": "examples.two_moons.model:MoonClassifier", "options": {"hidden": 3}}


def write_version(folder: Path, version: int) -> tuple[Any, torch.Tensor]:
    """What a version's folder holds: settings of a learner and more, and a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"seed": version, "model": "digits", "learner": LEARNER, "items": {"n": 3}}
    (folder / "version.yaml").write_text(yaml.safe_dump(content))
    features = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    settings = read_settings(folder / "version.yaml")
    learner = build_learner(settings, classes=2, sample=features[:1])
    about = {"classes": 2, "features": [2], "features_dtype": "float32"}
    Checkpoints(folder / "checkpoints").save(0, learner.state_files(), about)
    np.save(folder / "in.npy", features.numpy())
    np.save(folder / "out.npy", learner.predict_proba(features).numpy())
    return learner, features


class Registered:
    """A registered model whose versions have a spool each."""

    def __init__(self, root: Path, start: Start, **started: Any) -> None:
        self.root, self.start, self.started = root, start, started

    def spool(self, version: int) -> TrackingSpool:
        return TrackingSpool(self.root / f"v{version}")

    def version(self, version: int, name: str = NAME, **more: Any) -> TrackingSpool:
        folder = self.root / f"v{version}"
        write_version(folder, version)
        spool = self.spool(version)
        spool.append("start", **self.start(run_name=f"version {version}", **self.started))
        spool.append(
            "model", name="model", step=0, checkpoint="checkpoints/step_0000",
            experiment_file="version.yaml", input_example="in.npy", output_example="out.npy",
        )  # fmt: skip
        spool.append("version", model="model", name=name, version=version, **more)
        spool.append("end", status="FINISHED")
        return spool

    def state(self, of: int, sequence: int, champion: int | None, **more: Any) -> None:
        payload = {"name": NAME, "challenger": None, "tags": {}, **more}
        self.spool(of).append("registry", sequence=sequence, champion=champion, **payload)


@pytest.fixture
def registered(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> Registered:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "examples")
    monkeypatch.chdir(ROOT)
    return Registered(tmp_path / "models", start)


def aliases(client: Any, name: str = NAME) -> dict[str, str]:
    return {
        alias: client.get_model_version(name, str(version)).tags["querist.version"]
        for alias, version in client.get_registered_model(name).aliases.items()
    }


def tags_of(client: Any) -> dict[str, dict[str, str]]:
    found = client.search_model_versions(f"name = '{NAME}'")
    return {version.tags["querist.version"]: version.tags for version in found}


def test_versions_with_their_tags_and_the_aliases(
    registered: Registered, client: MlflowClient
) -> None:
    registered.version(1, tags={"querist.data": "ab" * 32, "querist.parent": None})
    registered.state(1, 1, 1, tags={1: {"querist.verdict": "promoted: no champion yet"}})
    registered.version(2, tags={"querist.parent": 1, "odd?": {"a": [1]}})
    registered.state(2, 2, 1, challenger=2)
    registered.state(2, 3, 2, tags={"2": {"querist.verdict": "promoted"}})
    for version in (1, 2):
        report = deliver(registered.spool(version).folder)
        assert (report.error, report.problems, report.pending) == (None, (), 0)
        assert client.get_run(str(report.mlflow_run_id)).info.status == "FINISHED"
    assert aliases(client) == {"champion": "2"}
    tags = tags_of(client)
    assert tags["1"]["querist.data"] == "ab" * 32
    assert tags["1"]["querist.verdict"] == "promoted: no champion yet"
    assert (tags["2"]["querist.parent"], tags["2"]["querist.verdict"]) == ("1", "promoted")
    assert json.loads(next(v for k, v in tags["2"].items() if k.startswith("odd_"))) == {"a": [1]}
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert champion.run_id == report.mlflow_run_id
    assert "decides where the aliases" in client.get_registered_model(NAME).description


def test_delivered_again_from_the_start_nothing_changes(
    registered: Registered, client: MlflowClient
) -> None:
    registered.version(1)
    registered.state(1, 1, 1)
    registered.version(2)
    registered.state(2, 2, 2, tags={1: {"why": "lost"}})

    def all_there() -> Any:
        model = client.get_registered_model(NAME)
        return model.aliases, model.tags, tags_of(client)

    for version in (1, 2):
        deliver(registered.spool(version).folder)
    before = all_there()
    for version in (2, 1, 1):
        (registered.spool(version).folder / PROGRESS_FILE).unlink(missing_ok=True)
        assert deliver(registered.spool(version).folder).error is None
        assert all_there() == before
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_a_spool_that_is_late_neither_undoes_the_newer_nor_is_passed_over(
    registered: Registered, client: MlflowClient
) -> None:
    for version in (1, 2, 3):
        registered.version(version)
        registered.state(version, version, version)
    registered.state(3, 4, 1, challenger=2)
    report = deliver(registered.spool(3).folder)
    assert (report.pending, report.error) == (
        1, f"LookupError: version 1 of '{NAME}' is not in MLflow yet: `querist sync` delivers "
        "what its folder holds",
    )  # fmt: skip
    assert aliases(client) == {"champion": "3"}
    assert deliver(registered.spool(2).folder).error is None
    assert aliases(client) == {"champion": "3"}
    assert deliver(registered.spool(1).folder).error is None
    assert aliases(client) == {"champion": "3"}
    assert deliver(registered.spool(3).folder).error is None
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_a_version_whose_model_cannot_be_logged_holds_up_nothing(
    registered: Registered, client: MlflowClient
) -> None:
    spool = registered.version(1)
    (spool.folder / "version.yaml").write_text("- : [")
    registered.state(1, 1, 1)
    registered.version(2)
    registered.state(2, 2, 2, tags={1: {"why": "older"}})
    report = deliver(spool.folder)
    assert (report.pending, report.error) == (0, None)
    assert "event 3 (version): the run has logged no model 'model'" in report.problems[1]
    assert report.problems[2] == (
        f"event 5: version 1 of '{NAME}' is not in MLflow: the run has logged no model 'model'"
    )
    assert aliases(client) == {}
    assert len(deliver(registered.spool(2).folder).problems) == 1
    assert aliases(client) == {"champion": "2"}


def test_what_a_person_moved_is_put_right_and_said(
    registered: Registered, client: MlflowClient
) -> None:
    registered.version(1)
    registered.state(1, 1, None, challenger=1)
    deliver(registered.spool(1).folder)
    client.set_registered_model_alias(NAME, "champion", "1")
    registered.state(1, 1, None, challenger=1)
    (problem,) = deliver(registered.spool(1).folder).problems
    assert problem == (
        f"event 6: the alias champion of '{NAME}' pointed to version 1 of MLflow, which the "
        "ledger had not said: it is removed"
    )
    assert aliases(client) == {"challenger": "1"}


def test_two_folders_with_one_name(
    registered: Registered, client: MlflowClient, tmp_path: Path, start: Start
) -> None:
    registered.version(1)
    other = Registered(tmp_path / "others", start)
    other.version(1)
    deliver(registered.spool(1).folder)
    (problem,) = deliver(other.spool(1).folder).problems
    assert "version 1 of 'digits of the week' is in MLflow already, from another folder" in problem
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_model_belongs_to_one_ledger(
    registered: Registered, client: MlflowClient, tmp_path: Path, start: Start
) -> None:
    registered.version(1, ledger="mine")
    registered.state(1, 1, 1, ledger="mine")
    other = Registered(tmp_path / "others", start)
    other.version(2, ledger="theirs")
    other.state(2, 9, None, ledger="theirs")
    assert deliver(registered.spool(1).folder).problems == ()
    assert [p.partition(": give")[0] for p in deliver(other.spool(2).folder).problems] == [
        f"event {seq} ({kind}): '{NAME}' in MLflow belongs to another ledger, mine"
        for seq, kind in ((3, "version"), (5, "registry"))
    ]
    assert aliases(client) == {"champion": "1"}
    # The folder of a version was made anew: the ledger is the same, the spool is not.
    shutil.rmtree(registered.spool(1).folder)
    registered.version(1, ledger="mine", tags={"why": "said again"})
    assert deliver(registered.spool(1).folder).problems == ()
    assert [tags["why"] for tags in tags_of(client).values()] == ["said again"]


def test_deliverers_that_work_at_once_and_are_killed(
    registered: Registered, client: MlflowClient
) -> None:
    for version in (1, 2):
        registered.version(version)
    for version in (1, 2):
        assert deliver(registered.spool(version).folder).error is None
    sequence = 0
    for attempt in range(3):
        for _ in range(15):
            sequence += 1
            tags = {1: {"why": sequence}, 2: {"why": sequence}}
            registered.state(1 + sequence % 2, sequence, 1 + sequence % 3 % 2, tags=tags)
        progress = [registered.spool(v).folder / PROGRESS_FILE for v in (1, 2)]
        before = [path.stat().st_ino for path in progress]
        command = [sys.executable, "-m", "querist.tracking.deliver"]
        processes = [
            subprocess.Popen([*command, str(registered.spool(v).folder)]) for v in (1, 2)
        ]
        while [path.stat().st_ino for path in progress] == before:
            assert any(process.poll() is None for process in processes)
            time.sleep(0.002)
        time.sleep(0.05 * attempt)
        for process in processes:
            process.kill()
            process.wait()
    for version in (2, 1):
        assert deliver(registered.spool(version).folder).error is None
    assert aliases(client) == {"champion": str(1 + sequence % 3 % 2)}
    assert client.get_registered_model(NAME).tags["querist.sequence"] == str(sequence)
    assert {tags["why"] for tags in tags_of(client).values()} == {str(sequence)}


def test_words_behind_the_end_neither_begin_the_run_anew_nor_are_left_behind(
    registered: Registered, client: MlflowClient
) -> None:
    folder = registered.version(1).folder
    courier = Courier(folder)
    courier.drain()
    assert courier.finished
    registered.state(1, 1, 2)
    with pytest.raises(LookupError):
        courier.drain()
    assert (courier.finished, courier.pending) == (False, 1)
    deliver(registered.version(2).folder)
    courier.drain()
    assert (courier.finished, courier.pending) == (True, 0)
    registered.spool(1).append("version", model="model", name="more", version=1)
    registered.spool(1).append("alias", model="model", name="more", alias="tried")
    courier.drain()
    assert courier.finished
    again = Courier(folder)
    again.drain()
    assert (again.finished, again.delivered) == (True, 0)
    assert client.get_run(str(again.progress.mlflow_run_id)).info.status == "FINISHED"
    assert aliases(client, "more") == {"tried": "1"}
    assert aliases(client) == {"champion": "2"}


def test_events_that_say_nothing_are_named(registered: Registered, client: MlflowClient) -> None:
    spool = registered.version(1, name="a/b")
    for payload, wanted in (
        ({"sequence": 0, "champion": 1}, "a sequence is an integer from 1 on, not 0"),
        ({"sequence": 1, "champion": True}, "a champion is an integer from 1 on, not True"),
        ({"sequence": 1, "tags": {"x": {}}}, "a version is an integer from 1 on, not 'x'"),
        ({"sequence": 1, "tags": {"1": "x"}}, "a version's tags are a mapping, not 'x'"),
    ):
        spool.append("registry", name=NAME, **payload)
        assert wanted in deliver(spool.folder).problems[-1]
    spool.append("registry", sequence=1)
    problems = deliver(spool.folder).problems
    assert problems[-1] == "event 9 (registry): it has no name"
    assert "without slashes, colons and quotes, not 'a/b'" in problems[0]


def test_a_version_is_served_from_its_own_settings(
    registered: Registered, client: MlflowClient, uri: str, tmp_path: Path
) -> None:
    spool = registered.version(7)
    learner, features = write_version(spool.folder, 7)
    assert deliver(spool.folder).error is None
    version = client.search_model_versions(f"name = '{NAME}'")[0]
    model = client.get_logged_model(version.tags[MODEL_TAG])
    examples = shutil.copy(spool.folder / "in.npy", tmp_path / "in.npy")
    shutil.rmtree(spool.folder)
    found = load_elsewhere(model, uri, Path(examples), tmp_path)
    expected = learner.predict_proba(features).double().numpy()
    np.testing.assert_array_equal(np.array(found["array"]), expected)
    assert "examples.two_moons.model" in found["modules"]


LOAD_BY_ALIAS = """
import json, sys
import numpy as np
import mlflow.pyfunc
tracking, uri, features = sys.argv[1:]
mlflow.set_tracking_uri(tracking)
print(json.dumps(mlflow.pyfunc.load_model(uri).predict(np.load(features)).tolist()))
"""


def test_through_a_server(registered: Registered, uri: str, tmp_path: Path) -> None:
    port = free_port()
    there = Registered(
        registered.root, registered.start, uri=f"http://127.0.0.1:{port}", artifact_root=None
    )
    for version in (1, 2):
        there.version(version)
        there.state(version, version, version, tags={version: {"why": "first"}})
    there.state(2, 3, 1, challenger=2)
    with server(port, uri, tmp_path) as address:
        client = MlflowClient(address)
        for version in (2, 1, 2):
            report = deliver(there.spool(version).folder)
        assert (report.error, report.problems, report.pending) == (None, (), 0)
        assert aliases(client) == {"champion": "1", "challenger": "2"}
        client.set_registered_model_alias(NAME, "champion", "1")
        client.delete_registered_model_alias(NAME, "challenger")
        there.state(1, 4, None)
        (problem,) = deliver(there.spool(1).folder).problems
        assert "pointed to version 1 of MLflow" in problem
        assert aliases(client) == {}
        there.state(1, 5, 1)
        assert deliver(there.spool(1).folder).error is None
        for version in (1, 2):
            (there.spool(version).folder / PROGRESS_FILE).unlink()
            assert deliver(there.spool(version).folder).error is None
        assert aliases(client) == {"champion": "1"}
        assert {v: t["why"] for v, t in tags_of(client).items()} == {"1": "first", "2": "first"}
        learner, features = write_version(there.spool(1).folder, 1)
        done = subprocess.run(
            [sys.executable, "-c", LOAD_BY_ALIAS, address, f"models:/{NAME}@champion",
             str(there.spool(1).folder / "in.npy")],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        predicted = np.array(json.loads(done.stdout.splitlines()[-1]))
        np.testing.assert_array_equal(predicted, learner.predict_proba(features).double().numpy())
