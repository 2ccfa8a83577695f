"""Delivery to a real MLflow store: everything, in order, once, whatever happens."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from querist.storage.store import Store, stored_by
from querist.tracking.deliver import deliver, main
from querist.tracking.progress import LOCK_FILE, PROGRESS_FILE, read_progress
from querist.tracking.spool import SPOOL_FILE, TrackingSpool

from .conftest import Start


def only_run(client: MlflowClient, experiment: str = "two-moons") -> Run:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert len(runs) == 1
    return client.get_run(runs[0].info.run_id)


def points(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float, int]]]:
    return {
        name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, name)]
        for run_id in [run.info.run_id]
        for name in run.data.metrics
    }


def write_iterations(spool: TrackingSpool, iterations: range) -> None:
    for i in iterations:
        spool.append("metrics", step=i, values={"f1": i / 10, "seconds": 0.25})
        spool.append("metrics", step=50 + 10 * i, values={"f1_by_labels": i / 10})


def test_everything_arrives(spool: TrackingSpool, start: Start, client: MlflowClient) -> None:
    spool.append("start", **start())
    write_iterations(spool, range(3))
    spool.append("metrics", step=3, values={"f1": math.nan, "bad/näme?": 1.0})
    (spool.folder / "figures").mkdir()
    (spool.folder / "figures" / "curve.png").write_bytes(b"png")
    (spool.folder / "experiment.yaml").write_text("name: x")
    spool.append("artifact", path="experiment.yaml", artifact_path=None)
    spool.append("artifact", path="figures/curve.png", artifact_path="figures")
    spool.append("artifact", path="figures", artifact_path="all")
    spool.append("tags", values={"stopped": "budget spent", "nothing": None})
    spool.append("end", status="FINISHED")

    report = deliver(spool.folder)

    assert (report.error, report.problems, report.pending, report.delivered) == (None, (), 0, 13)
    run = only_run(client)
    assert report.mlflow_run_id == run.info.run_id
    assert run.info.run_name == "two-moons cafe0001"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "7", "training.lr": "0.01"}
    assert run.data.tags["querist.run_id"] == "cafe0001"
    assert run.data.tags["stopped"] == "budget spent"
    assert "nothing" not in run.data.tags
    events = spool.events()
    assert run.info.start_time == round(events[0].time * 1000)
    assert run.info.end_time == round(events[-1].time * 1000)
    history = points(client, run)
    assert [(s, v) for s, v, _ in history["f1"][:3]] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert [t for *_, t in history["f1"]] == [
        round(e.time * 1000) for e in events if "f1" in e.payload.get("values", {})
    ]
    assert math.isnan(history["f1"][3][1])
    assert [s for s, *_ in history["f1_by_labels"]] == [50, 60, 70]
    assert any(name.startswith("bad/n") for name in run.data.metrics)
    assert run.inputs is not None
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("moons", ("ab" * 32)[:36])
    assert json.loads(str(dataset.dataset.profile)) == {
        "num_rows": 1000, "classes": 2, "features": [2],
    }  # fmt: skip
    assert json.loads(dataset.dataset.source)["digest"] == "ab" * 32
    found = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert found == {"experiment.yaml", "figures", "all"}
    assert [a.path for a in client.list_artifacts(run.info.run_id, "all/figures")] == [
        "all/figures/curve.png"
    ]
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.artifact_location.endswith("/artifacts")


def test_delivered_twice_or_from_the_start_again_is_nothing_twice(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    spool.append("start", **start())
    write_iterations(spool, range(5))
    spool.append("metrics", step=9, values={"f1": math.nan})
    assert deliver(spool.folder).delivered == 12
    once = only_run(client)
    history = repr(points(client, once))
    assert deliver(spool.folder).delivered == 0
    (spool.folder / PROGRESS_FILE).unlink()  # as if killed before anything was noted
    assert deliver(spool.folder).delivered == 12
    again = only_run(client)
    assert repr(points(client, again)) == history
    assert repr(again.data.to_dictionary()) == repr(once.data.to_dictionary())
    assert again.inputs is not None
    assert len(again.inputs.dataset_inputs) == 1


def test_a_copy_of_the_folder_is_the_same_run(
    spool: TrackingSpool, start: Start, client: MlflowClient, tmp_path: Path
) -> None:
    spool.append("start", **start())
    deliver(spool.folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / SPOOL_FILE).write_bytes((spool.folder / SPOOL_FILE).read_bytes())
    assert deliver(copy).mlflow_run_id == only_run(client).info.run_id


def test_a_killed_deliverer_loses_and_doubles_nothing(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    (spool.folder / "note.txt").write_text("x")
    spool.append("start", **start())
    chooser = random.Random(0)
    kills = 0
    for attempt in range(6):
        for i in range(40 * attempt, 40 * attempt + 40):
            write_iterations(spool, range(i, i + 1))
            spool.append("artifact", path="note.txt", artifact_path=f"at{i}")
        process = subprocess.Popen(
            [sys.executable, "-m", "querist.tracking.deliver", str(spool.folder)]
        )
        before = read_progress(spool.folder).seq
        while process.poll() is None and read_progress(spool.folder).seq == before:
            time.sleep(0.002)
        time.sleep(chooser.uniform(0, 0.2))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3, "the deliverer was too fast to be killed: write more events"
    spool.append("end", status="KILLED")
    assert deliver(spool.folder).error is None
    run = only_run(client)
    assert run.info.status == "KILLED"
    history = points(client, run)
    assert [(s, v) for s, v, _ in history["f1"]] == [(i, i / 10) for i in range(240)]
    assert [s for s, *_ in history["seconds"]] == list(range(240))
    assert [s for s, *_ in history["f1_by_labels"]] == [50 + 10 * i for i in range(240)]
    assert len(client.list_artifacts(run.info.run_id)) == 240


def test_a_resumed_run_goes_on_in_its_mlflow_run(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    spool.append("start", **start())
    write_iterations(spool, range(2))
    spool.append("end", status="FAILED")
    deliver(spool.folder)
    spool.append("start", **start(params={"seed": 7, "training.lr": 0.5, "new": 1}))
    spool.append("metrics", step=1, values={"f1": 0.1, "seconds": 0.3})  # said again
    write_iterations(spool, range(2, 3))
    deliver(spool.folder)
    run = only_run(client)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"seed": "7", "training.lr": "0.01", "new": "1"}
    assert run.data.tags["querist.changed_params"] == "training.lr"
    history = points(client, run)
    assert [(s, v) for s, v, _ in history["f1"]] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert [v for s, v, _ in history["seconds"] if s == 1] == [0.25, 0.3]  # it was done twice
    spool.append("end", status="FINISHED")
    deliver(spool.folder)
    assert only_run(client).info.status == "FINISHED"


def test_parameters_and_tags_over_the_limits_are_cut_and_named(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    params: dict[str, Any] = {f"p{i}": i for i in range(250)}
    params |= {"long": "x" * 10_000, "key" * 200: 1, "odd?": [1, None], "none": None}
    spool.append("start", **start(params=params, tags={"t": "y" * 9000, "parent": "f" * 32}))
    assert deliver(spool.folder).error is None
    run = only_run(client)
    assert len(run.data.params) == 254
    assert len(run.data.params["long"]) == 6000
    assert run.data.tags["querist.cut_params"] == "long"
    assert len(run.data.tags["t"]) == 5000
    assert run.data.tags["mlflow.parentRunId"] == "f" * 32


def test_what_cannot_be_delivered_is_named_and_the_rest_goes_on(
    spool: TrackingSpool, start: Start, client: MlflowClient, folder: Path
) -> None:
    (folder.parent / "secret.txt").write_text("x")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    spool.append("metrics", step=0, values={"early": 1.0})
    spool.append("start", **start())
    spool.append("artifact", path="gone.png", artifact_path=None)
    spool.append("artifact", path="../secret.txt", artifact_path=None)
    spool.append("artifact", path="link.txt", artifact_path=None)
    spool.append("metrics", step="x", values={"a": 1.0})
    spool.append("metrics", step=1, values={"a": "no number"})
    spool.append("metrics", step=1, values={"good": 1.0})
    spool.append("model", checkpoint="checkpoints/step_0001", name="model", step=1)
    spool.append("party")
    spool.append("tags", values="no")
    spool.append("end", status="TIRED")
    spool.append("end", status="FINISHED")
    report = deliver(folder)
    assert (report.error, report.pending, report.delivered) == (None, 0, 13)
    expected = [
        "event 1 (metrics): it comes before the run's start",
        "event 3 (artifact): there is no file 'gone.png' in the run",
        "event 4 (artifact): its path '../secret.txt' is outside the run's folder",
        "event 5 (artifact): its path 'link.txt' is outside the run's folder",
        "event 6 (metrics): its step or values are no numbers",
        "event 7 (metrics): its step or values are no numbers",
        "event 9 (model): it has no experiment_file",
        "event 10 (party): nobody knows this kind of event",
        "event 11 (tags): tags are a mapping, not 'no'",
        "event 12 (end): a run ends FINISHED, FAILED, KILLED, SCHEDULED, not 'TIRED'",
    ]
    assert len(report.problems) == len(expected)
    for said, wanted in zip(report.problems, expected, strict=True):
        assert said.startswith(wanted)
    run = only_run(client)
    assert run.data.metrics == {"good": 1.0}
    assert run.info.status == "FINISHED"
    assert client.list_artifacts(run.info.run_id) == []
    assert deliver(folder).problems == report.problems


def test_a_store_that_fails_keeps_the_events(
    spool: TrackingSpool, start: Start, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.append("start", **start())
    deliver(spool.folder)
    run_id = only_run(client).info.run_id
    client.delete_run(run_id)
    write_iterations(spool, range(2))
    assert main([str(spool.folder)]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "4 events are not delivered: MlflowException" in said[0]
    assert "must be in the 'active' state" in str(read_progress(spool.folder).error)
    client.restore_run(run_id)
    assert main([str(spool.folder)]) == 0
    assert capsys.readouterr().err == ""
    assert read_progress(spool.folder).error is None
    assert len(points(client, only_run(client))["f1"]) == 2


def test_a_deleted_experiment_says_how_to_get_it_back(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    experiment_id = client.create_experiment("two-moons")
    client.delete_experiment(experiment_id)
    spool.append("start", **start())
    assert f"mlflow experiments restore -x {experiment_id}" in str(deliver(spool.folder).error)


def test_a_wrong_uri_can_be_corrected_while_there_is_no_run(
    spool: TrackingSpool, start: Start, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    spool.append("start", **start(uri=f"sqlite:///{tmp_path}/file/mlflow.db"))
    write_iterations(spool, range(1))
    assert deliver(spool.folder).error is not None
    spool.append("start", **start())
    assert deliver(spool.folder).error is None
    run = only_run(client)
    assert run.data.metrics["f1"] == 0.0
    spool.append("start", **start(uri="http://elsewhere:1"))
    (problem,) = deliver(spool.folder).problems
    assert "the run stays where it began" in problem


def test_two_deliverers_never_work_at_once(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    spool.append("start", **start())
    with (spool.folder / LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = deliver(spool.folder, patience=0)
        assert (report.delivered, report.pending) == (0, 1)
        assert "another process is delivering" in str(report.error)
        threading.Timer(0.5, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        assert deliver(spool.folder).error is None
    assert only_run(client).info.status == "RUNNING"


def test_what_a_lost_answer_left_twice_is_removed_at_the_end(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    """The server did what it was asked for, long after nobody waited for the answer any more."""
    spool.append("start", **start())
    deliver(spool.folder)
    run = only_run(client)
    tags = {"querist.spool": run.data.tags["querist.spool"]}
    late = client.create_run(run.info.experiment_id, tags=tags, start_time=1)
    other = client.create_run(run.info.experiment_id, tags={"querist.spool": "another"})
    made = [
        client.create_logged_model(
            run.info.experiment_id,
            name=name,
            source_run_id=run.info.run_id,
            tags={"querist.spool": "x", "querist.seq": seq},
        )
        for name, seq in (("a", "3"), ("a", "3"), ("b", "4"))
    ]
    client.finalize_logged_model(made[1].model_id, "READY")
    spool.append("end", status="FINISHED")
    assert deliver(spool.folder).error is None
    left = {r.info.run_id for r in client.search_runs([run.info.experiment_id])}
    assert left == {run.info.run_id, other.info.run_id}
    assert client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"
    models = {m.model_id for m in client.search_logged_models([run.info.experiment_id])}
    assert models == {made[1].model_id, made[2].model_id}


def test_a_disk_that_is_full_for_the_notes_costs_no_events(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    class Full(Store):
        def replace(self, source: Path, target: Path) -> None:
            if target.name == PROGRESS_FILE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().replace(source, target)

    spool.append("start", **start())
    write_iterations(spool, range(2))
    with stored_by(Full()):
        report = deliver(spool.folder)
    assert report.pending == 5
    assert "No space left on device" in str(report.error)
    assert deliver(spool.folder).error is None
    assert len(points(client, only_run(client))["f1"]) == 2


def test_without_a_uri_the_store_lies_beside_the_runs(
    spool: TrackingSpool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    spool.append("start", **start(uri=None, artifact_root=None))
    assert deliver(Path("runs") / spool.folder.name).error is None
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    run = only_run(client)
    assert str(tmp_path / "runs" / "mlartifacts") in str(run.info.artifact_uri)
    assert read_progress(spool.folder).uri == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "mlflow.db"}


def test_learners_that_start_side_by_side_on_a_new_store(tmp_path: Path, start: Start) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    folders = [tmp_path / f"run{i}" for i in range(3)]
    for folder in folders:
        spool = TrackingSpool(folder)
        spool.append("start", **start(uri=uri))
        write_iterations(spool, range(3))
    command = [sys.executable, "-m", "querist.tracking.deliver"]
    processes = [subprocess.Popen([*command, str(folder)]) for folder in folders]
    assert [process.wait() for process in processes] == [0, 0, 0]
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("two-moons")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [len(points(client, run)["f1"]) for run in runs] == [3, 3, 3]


def test_a_deliverer_killed_while_the_store_is_made_leaves_no_broken_store(
    tmp_path: Path, start: Start, spool: TrackingSpool
) -> None:
    database = tmp_path / "new" / "mlflow.db"
    spool.append("start", **start(uri=f"sqlite:///{database}"))
    command = [sys.executable, "-m", "querist.tracking.deliver", str(spool.folder)]
    process = subprocess.Popen(command)
    beside = database.with_name("mlflow.db.new")
    while not (beside.exists() and beside.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not database.exists()
    assert deliver(spool.folder).error is None
    assert only_run(MlflowClient(f"sqlite:///{database}")).info.run_name == "two-moons cafe0001"
    assert not beside.exists()


def test_a_folder_without_a_spool_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert f"there is no {SPOOL_FILE} in {tmp_path}" in capsys.readouterr().err


def test_parent_without_follow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--parent", "1"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int, database: str, folder: Path) -> Iterator[str]:
    command = [
        sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", database, "--artifacts-destination", str(folder / "served"),
    ]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, env={**os.environ, **quiet}, start_new_session=True, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, "the MLflow server did not start"
                time.sleep(0.1)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def test_a_server_that_is_down_gets_everything_when_it_is_back(
    spool: TrackingSpool, start: Start, uri: str, tmp_path: Path, client: MlflowClient
) -> None:
    port = free_port()
    spool.append("start", **start(uri=f"http://127.0.0.1:{port}", artifact_root=None))
    write_iterations(spool, range(3))
    (spool.folder / "note.txt").write_text("hello")
    spool.append("artifact", path="note.txt", artifact_path=None)
    spool.append("end", status="FINISHED")
    report = deliver(spool.folder)
    assert (report.delivered, report.pending, report.mlflow_run_id) == (0, 9, None)
    assert report.error == (
        f"ConnectionError: the tracking server http://127.0.0.1:{port} is not there "
        "(Connection refused)"
    )
    assert read_progress(spool.folder).error == report.error
    with server(port, uri, tmp_path):
        report = deliver(spool.folder)
        assert (report.delivered, report.pending, report.error) == (9, 0, None)
        (spool.folder / PROGRESS_FILE).unlink()
        assert deliver(spool.folder).mlflow_run_id == report.mlflow_run_id
    run = only_run(client)
    assert run.info.status == "FINISHED"
    assert [s for s, *_ in points(client, run)["f1"]] == [0, 1, 2]
    assert (next((tmp_path / "served").rglob("note.txt"))).read_text() == "hello"
