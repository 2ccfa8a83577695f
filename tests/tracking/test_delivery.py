"""The run's side: a deliverer of its own that follows, drains, and ends with the run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from querist.tracking.asking import asked
from querist.tracking.delivery import LOG_FILE, Delivery
from querist.tracking.spool import TrackingSpool

from .conftest import Start


def eventually(check: Callable[[], object], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if check():
            return True
        time.sleep(0.02)
    return bool(check())


def process_of(delivery: Delivery) -> subprocess.Popen[bytes]:
    assert delivery._process is not None
    return delivery._process


def test_it_follows_the_run_and_ends_with_it(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    delivery = Delivery(spool.folder)
    delivery.start()
    process = process_of(delivery)
    delivery.start()
    assert process_of(delivery) is process
    assert os.getpgid(process.pid) != os.getpgid(0)
    assert delivery.mlflow_run_id is None
    spool.append("start", **start())
    assert eventually(lambda: delivery.mlflow_run_id)
    run_id = str(delivery.mlflow_run_id)
    spool.append("metrics", step=0, values={"f1": 0.5})
    assert eventually(lambda: client.get_run(run_id).data.metrics)
    spool.append("metrics", step=1, values={"f1": 0.75})
    spool.append("end", status="FINISHED")
    state = delivery.wait(30)
    assert (state.delivered, state.pending, state.error, state.problems) == (True, 0, None, ())
    assert (state.mlflow_run_id, state.uri) == (run_id, start()["uri"])
    assert process.wait(10) == 0
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_run(run_id).data.metrics == {"f1": 0.75}
    assert (spool.folder / LOG_FILE).read_text() == ""


def test_a_run_that_is_resumed_gets_a_deliverer_that_does_not_end_at_the_old_end(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    spool.append("start", **start())
    spool.append("end", status="FAILED")
    first = Delivery(spool.folder)
    first.start()
    assert first.wait(30).delivered
    assert process_of(first).wait(10) == 0
    second = Delivery(spool.folder)
    second.start()
    assert second.wait(5).delivered
    spool.append("start", **start())
    spool.append("metrics", step=0, values={"f1": 0.5})
    spool.append("end", status="FINISHED")
    assert second.wait(30).delivered
    assert client.get_run(str(second.mlflow_run_id)).data.metrics == {"f1": 0.5}
    assert client.get_run(str(second.mlflow_run_id)).info.status == "FINISHED"


def test_a_tracker_that_is_down_is_heard_about_and_holds_nothing_up(
    spool: TrackingSpool, start: Start, client: MlflowClient, tmp_path: Path
) -> None:
    blocked = tmp_path / "later"
    blocked.write_text("in the way")
    spool.append("start", **start(uri=f"sqlite:///{blocked}/mlflow.db"))
    spool.append("end", status="FINISHED")
    delivery = Delivery(spool.folder)
    delivery.start()
    assert eventually(lambda: delivery.state().error)
    state = delivery.wait(0)
    assert (state.delivered, state.pending, state.mlflow_run_id) == (False, 2, None)
    assert "FileExistsError" in str(state.error) or "NotADirectoryError" in str(state.error)
    assert not delivery.wait(60).delivered  # gives up long before
    blocked.unlink()  # it comes back
    assert eventually(lambda: delivery.state().delivered, seconds=60)
    assert delivery.state().error is None
    assert process_of(delivery).wait(10) == 0


@pytest.mark.parametrize("known", [False, True])
def test_the_end_of_a_run_waits_two_seconds_at_most_for_a_silent_server(
    spool: TrackingSpool, start: Start, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes the connection and says nothing; for a short run that is found out at its end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        spool.append("start", **start(uri=uri, artifact_root=None))
        spool.append("end", status="FINISHED")
        delivery = Delivery(spool.folder)
        delivery.start()
        if known:
            assert eventually(lambda: asked(spool.folder) is not None)
            time.sleep(3)
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "querist"):
            state = delivery.wait(60)
        waited = time.monotonic() - began
        process_of(delivery).kill()
        process_of(delivery).wait()
    assert (state.delivered, state.pending) == (False, 2)
    assert waited < 2.0
    assert caplog.messages == [
        "MLflow has not got 2 events (no answer yet): `querist sync cafe0001` delivers what is left"
    ]


def test_a_run_that_had_finished_gets_a_deliverer_that_ends(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    """A kill between the end's event and the run's mark: the resumed run has nothing to say."""
    spool.append("start", **start())
    spool.append("end", status="FINISHED")
    first = Delivery(spool.folder)
    first.start()
    assert first.wait(30).delivered
    assert process_of(first).wait(10) == 0
    second = Delivery(spool.folder)
    second.start()
    assert second.wait(5).delivered
    assert process_of(second).wait(10) == 0


def test_a_killed_deliverer_is_heard_about_and_another_one_finishes(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    delivery = Delivery(spool.folder)
    delivery.start()
    process_of(delivery).send_signal(signal.SIGKILL)
    spool.append("start", **start())
    spool.append("end", status="FINISHED")
    state = delivery.wait(30)
    assert not state.delivered
    assert state.error == f"the deliverer ended with code -9: see {spool.folder / LOG_FILE}"
    delivery.start()
    assert delivery.wait(30).delivered
    assert client.get_run(str(delivery.mlflow_run_id)).info.status == "FINISHED"


def test_the_deliverer_drains_and_ends_when_its_run_is_killed(
    spool: TrackingSpool, start: Start, client: MlflowClient, tmp_path: Path
) -> None:
    code = f"""
import os, pathlib, signal, time
from querist.tracking.delivery import Delivery
from querist.tracking.spool import TrackingSpool
folder = pathlib.Path({str(spool.folder)!r})
delivery = Delivery(folder)
delivery.start()
spool = TrackingSpool(folder)
spool.append("start", **{start()!r})
while delivery.mlflow_run_id is None:
    time.sleep(0.02)
spool.append("metrics", step=0, values={{"f1": 0.5}})
print(delivery._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL
    stat = Path(f"/proc/{int(run.stdout)}/stat")
    assert eventually(lambda: not stat.exists() or stat.read_text().split()[2] == "Z")
    state = Delivery(spool.folder).state()
    assert (state.delivered, state.error) == (True, None)
    mlflow_run = client.get_run(str(state.mlflow_run_id))
    assert mlflow_run.data.metrics == {"f1": 0.5}
    assert mlflow_run.info.status == "RUNNING"


def test_user_packages_of_the_working_folder_are_found(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    """The run's import path reaches the deliverer, however the run was started."""
    delivery = Delivery(spool.folder)
    delivery.start()
    environment = Path(f"/proc/{process_of(delivery).pid}/environ")
    assert eventually(lambda: b"PYTHONPATH" in environment.read_bytes())
    entries = dict(
        item.split(b"=", 1) for item in environment.read_bytes().split(b"\0") if b"=" in item
    )
    assert os.getcwd().encode() in entries[b"PYTHONPATH"].split(b":")
    assert entries[b"OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1").encode()
    spool.append("start", **start())
    spool.append("end", status="FINISHED")
    assert delivery.wait(30).delivered


def test_importing_it_is_light() -> None:
    code = (
        "import sys, querist.tracking.delivery, querist.tracking.spool\n"
        "sys.exit(bool({'mlflow', 'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
