"""Faults 4, 5 and 6 through Prefect: cancelled, killed, and the server away."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .served import (
    EXPERIMENT,
    ITERATIONS,
    LABELS,
    Service,
    free_port,
    held_environment,
    processes,
    result,
    until,
)

PHASES = ("train", "metrology", "query", "label")
CANARIES = {
    "QUERIST_PREFECT_AUTH": "canary:prefect-7c1f0e2a",
    "QUERIST_MLFLOW_PASSWORD": "canary-mlflow-93bd41",
    "QUERIST_MLFLOW_SECRET_KEY": "canary-key-5520ffab",
    "ANY_TOKEN": "canary-token-e81b6d",
}
NIGHTLY = os.environ.get("FAULTS") == "nightly"
Cli = Callable[..., "subprocess.Popen[str]"]


Tries = Callable[[int, int, int], int]
Survived = Callable[..., None]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    pytest.importorskip("flask_wtf", reason="MLflow's basic auth needs Flask-WTF")
    folder = tmp_path_factory.mktemp("served")
    found = Service(folder, held_environment(folder, **CANARIES), free_port(), free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "held,examples")
        found.start()
        yield found
    if found.process is not None and found.process.poll() is None:
        found.stop()


@pytest.fixture(scope="module")
def uninterrupted_served(service: Service) -> dict[str, str]:
    flow_run = service.trigger("uninterrupted")
    service.wait(flow_run, 120)
    assert service.state(flow_run)["type"] == "COMPLETED", service.state(flow_run)
    return result(service.root / "uninterrupted")


def held_run(service: Service, run_id: str, phase: str) -> str:
    """A flow run that stands in a phase."""
    service.hold(phase)
    flow_run = service.trigger(run_id)
    until(service.held, 90, f"the run is in {phase}")
    return flow_run


def finish(service: Service, run_id: str, uninterrupted: dict[str, str]) -> None:
    """Triggered again with its run_id, a run goes on and ends as if nothing had been."""
    service.go_on()
    again = service.trigger(run_id)
    service.wait(again, 120)
    assert service.state(again)["type"] == "COMPLETED", service.state(again)
    assert result(service.root / run_id) == uninterrupted


def steps_of(service: Service) -> list[int]:
    """The processes that carry out the steps of runs."""
    ours = processes(str(service.root))
    return [process for process in processes("querist.runs.spawned") if process in ours]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", ["cancel", "SIGTERM"])
def test_row_4_a_served_run_is_stopped(
    way: str,
    phase: str,
    service: Service,
    uninterrupted_served: dict[str, str],
    tries: Tries,
    tried: Survived,
    survived: Survived,
) -> None:
    for number in range(tries(4, 1, 10)):
        tried(4)
        stop_served(service, way, phase, f"{way}-{phase}-{number}", uninterrupted_served)
        survived(4)


def stop_served(service: Service, way: str, phase: str, run_id: str, whole: dict[str, str]) -> None:
    """Cancelled, or its runner ended: the step ends in 10 s, and the run can be gone on with."""
    flow_run = held_run(service, run_id, phase)
    started = time.monotonic()
    if way == "cancel":
        service.cancel(flow_run)
    else:
        (runner,) = service.runner()
        os.kill(runner, signal.SIGTERM)
    until(lambda: not steps_of(service), 10, "the step has ended")
    left = max(0.1, 10 - (time.monotonic() - started))
    until(lambda: service.state(flow_run)["type"] == "CANCELLED", left, "it is cancelled")
    print(f"{way} in {phase}: {time.monotonic() - started:.1f} s")
    finish(service, run_id, whole)


@pytest.mark.timeout(1200)
def test_row_5_runner_and_flow_are_killed(
    service: Service,
    uninterrupted_served: dict[str, str],
    tries: Tries,
    tried: Survived,
    survived: Survived,
) -> None:
    for number in range(tries(5, 1, 3)):
        tried(5)
        kill_served(service, f"killed-{number}", uninterrupted_served)
        survived(5)


def kill_served(service: Service, run_id: str, whole: dict[str, str]) -> None:
    """The automation finds a flow run whose process and runner were killed."""
    flow_run = held_run(service, run_id, "label")
    until(lambda: heartbeats(service, flow_run), 40, "a heartbeat has come")
    (runner,) = service.runner()
    os.killpg(runner, signal.SIGKILL)
    seconds = service.wait(flow_run, 120)
    state = service.state(flow_run)
    print(f"Crashed after {seconds:.0f} s")
    assert state["type"] == "CRASHED", state
    assert "No heartbeat for 90 s" in state["message"]
    assert not steps_of(service)
    finish(service, run_id, whole)


def heartbeats(service: Service, flow_run: str) -> bool:
    resource = {"id": [f"prefect.flow-run.{flow_run}"]}
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}
    return bool(service.api("/events/filter", {"filter": wanted})["events"])


@pytest.mark.timeout(600)
def test_row_5_a_zombie_that_was_there_before_is_reaped(
    service: Service, tried: Survived, survived: Survived
) -> None:
    tried(5)
    flow_run = held_run(service, "zombie", "train")
    assert service.process is not None
    service.stop(signal.SIGKILL)
    service.go_on()
    with sqlite3.connect(service.root / "service" / "prefect" / "prefect.db") as database:
        # As it is after a night: its last sign of life is long ago.
        old = "2026-01-01 00:00:00.000000"
        running = "select state_id from flow_run where id in (?, ?)"
        ids = (flow_run.replace("-", ""), flow_run)
        database.execute(f"update flow_run_state set timestamp = ? where id in ({running})",
                         (old, *ids))  # fmt: skip
        database.execute("update events set occurred = ? where event like '%heartbeat'", (old,))
    service.start()
    service.wait(flow_run, 60)
    state = service.state(flow_run)
    assert state["type"] == "CRASHED", state
    assert "querist resume zombie" in state["message"]
    survived(5)


@pytest.mark.timeout(300)
def test_a_canary_is_nowhere(service: Service, uninterrupted_served: dict[str, str]) -> None:
    """Only processes know the secrets: no file below the folder has one, in any encoding."""
    import base64

    forms = []
    for secret in CANARIES.values():
        forms += [secret, base64.b64encode(secret.encode()).decode(), secret.partition(":")[2]]
    forms.append(
        base64.b64encode(f"querist:{CANARIES['QUERIST_MLFLOW_PASSWORD']}".encode()).decode()
    )
    looked_at = 0
    for file in service.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            looked_at += 1
            assert not [form for form in forms if form and form.encode() in content], file
    assert looked_at > 20
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        assert not [secret for secret in CANARIES.values() if secret.encode() in line], line


# The command line ---------------------------------------------------------------------------------


@pytest.fixture
def querist(tmp_path: Path) -> Cli:
    content = EXPERIMENT | {"tracking": {"enabled": False}}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))

    def start(*args: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from querist.deployments.cli import main; main()", *args]
        return subprocess.Popen(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=held_environment(tmp_path, PREFECT_HOME=str(tmp_path / "home"), **env),
            start_new_session=True,
        )  # fmt: skip

    return start


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_row_4_a_command_is_stopped(
    way: signal.Signals,
    phase: str,
    querist: Cli,
    tmp_path: Path,
    prefect_server: Any,
    tries: Tries,
    tried: Survived,
    survived: Survived,
) -> None:
    api = {"PREFECT_API_URL": prefect_server.api_url}
    for number in range(tries(4, 1, 10)):
        tried(4)
        run_id = f"stopped-{number}"
        (tmp_path / "held.reached").unlink(missing_ok=True)
        (tmp_path / "held").write_text(phase)
        process = querist("run", "experiment.yaml", "--run-id", run_id, **api)
        until((tmp_path / "held.reached").exists, 90, f"the run is in {phase}")
        started = time.monotonic()
        process.send_signal(way)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 1, out
        assert "`querist resume` goes on" in out
        until(lambda: not processes(str(tmp_path)), 10 - (time.monotonic() - started), "all ended")
        (tmp_path / "held").unlink()
        resumed = querist("resume", run_id, **api)
        out, _ = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, out
        asked = (tmp_path / "asked").read_text().splitlines()
        assert len(set(asked)) == ITERATIONS * LABELS
        assert len(asked) == len(set(asked)), "a label was asked for twice"
        (tmp_path / "asked").unlink()
        survived(4)


@pytest.mark.timeout(1200)
def test_row_6_the_prefect_server_is_away(
    querist: Cli, tmp_path: Path, tries: Tries, tried: Survived, survived: Survived
) -> None:
    from querist.deployments.embedded_server import SHARED_SETTINGS, listen, start_prefect

    away = 30.0 if NIGHTLY else 8.0
    port = free_port()
    env = held_environment(tmp_path, PREFECT_HOME=str(tmp_path / "server"), **SHARED_SETTINGS)
    url = f"http://127.0.0.1:{port}/api"

    def server() -> subprocess.Popen[bytes]:
        with listen("127.0.0.1", port) as listener:
            return start_prefect(listener, env)

    process = server()
    try:
        whole = querist("run", "experiment.yaml", "--run-id", "whole", PREFECT_API_URL=url)
        out, _ = whole.communicate(timeout=180)
        assert whole.returncode == 0, out
        runs = tmp_path / "active_learning_logs"
        asked = tmp_path / "asked"
        expected, answers = result(runs / "whole"), sorted(asked.read_text().splitlines())
        for number in range(tries(6, 1, 5)):
            tried(6)
            asked.unlink()
            (tmp_path / "held.reached").unlink(missing_ok=True)
            (tmp_path / "held").write_text("label")
            run_id = f"away-{number}"
            run = querist("run", "experiment.yaml", "--run-id", run_id, PREFECT_API_URL=url)
            until((tmp_path / "held.reached").exists, 90, "the run is in label")
            process.kill()
            process.wait()
            (tmp_path / "held").unlink()  # the run meets a server that is away
            time.sleep(away)
            process = server()
            out, _ = run.communicate(timeout=240)
            assert run.returncode == 0, out
            assert result(runs / run_id) == expected
            assert sorted(asked.read_text().splitlines()) == answers, "a label was asked for twice"
            events = map(json.loads, (runs / run_id / "driver_log.json").read_text().splitlines())
            done = [(e["iteration"], e["phase"]) for e in events if e["event"] == "end"]
            assert done
            assert len(done) == len(set(done)), "a phase was done twice"
            survived(6)
    finally:
        process.kill()
        process.wait()
