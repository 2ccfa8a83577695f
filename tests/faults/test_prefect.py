"""Faults 4, 5 and 6 through Prefect: cancelled, killed, and the server away.

Of row 4, test_signals.py has a command with a Prefect server of its own, and the conclusion.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.deployments.up import answers

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
SIGTERM_IN_CI = ("metrology", "label")
"""CI stops a run once in each phase, in these by SIGTERM; nightly, in every way in each phase."""
CANARIES = {
    "QUERIST_MLFLOW_PASSWORD": "canary-mlflow-93bd41",
    "ANY_TOKEN": "canary-token-e81b6d",
}
"""What `querist up` is given; it makes the other credentials."""
PREFECT_CANARY = "canary:prefect-7c1f0e2a"
"""What it is given from its second start on."""
NIGHTLY = os.environ.get("FAULTS") == "nightly"
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


def in_ci(way: str, phase: str) -> int:
    """How often CI tries this cell of row 4."""
    if not NIGHTLY and (way == "SIGTERM") is not (phase in SIGTERM_IN_CI):
        pytest.skip("only FAULTS=nightly stops runs in every way in each phase")
    return 1


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
    for number in range(tries(4, in_ci(way, phase), 10)):
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
        os.kill(service.runner(), signal.SIGTERM)
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
    os.killpg(service.runner(), signal.SIGKILL)
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
    service.env["QUERIST_PREFECT_AUTH"] = PREFECT_CANARY  # from now on
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
    parent = {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run]}}}

    def iterations() -> list[str]:
        return [child["state_type"] for child in service.api("/flow_runs/filter", parent)]

    # Cancelled, if the runner had time to say so when `up` was killed.
    until(lambda: set(iterations()) <= {"CRASHED", "CANCELLED"}, 20, "its iteration has ended too")
    assert len(iterations()) == 1
    survived(5)


@pytest.mark.timeout(600)
def test_row_6_servers_that_are_killed_are_started_again(
    service: Service, uninterrupted_served: dict[str, str], tried: Survived, survived: Survived
) -> None:
    """`querist up` does it, and the flow run that is being carried out goes on meanwhile."""
    tried(6)
    flow_run = held_run(service, "restarted", "label")
    before = service.servers()
    for server in before:
        os.kill(server, signal.SIGKILL)
    service.go_on()
    until(service.healthy, 120, "both answer again")
    assert not set(service.servers()) & set(before)
    said = (service.folder / "up.log").read_text()
    for name in ("the Prefect server", "the MLflow server"):
        assert f"{name} ended with exit code" in said
    service.wait(flow_run, 120)
    assert service.state(flow_run)["type"] == "COMPLETED", service.state(flow_run)
    assert result(service.root / "restarted") == uninterrupted_served
    with sqlite3.connect(service.root / "mlflow.db") as database:
        query = "select status from runs where name = 'held moons restarted'"
        until(lambda: database.execute(query).fetchall() == [("FINISHED",)], 120, "MLflow has it")
    survived(6)


@pytest.mark.timeout(300)
def test_a_canary_is_nowhere(service: Service, uninterrupted_served: dict[str, str]) -> None:
    """No file has a secret, in any encoding, but the one that those were made in."""
    generated = service.generated()
    assert generated.keys() == {"prefect_auth", "mlflow_secret_key"}, "those that were not given"
    secrets = [*CANARIES.values(), PREFECT_CANARY, *generated.values()]
    mlflow = f"querist:{CANARIES['QUERIST_MLFLOW_PASSWORD']}"
    forms = [base64.b64encode(secret.encode()).decode() for secret in (*secrets, mlflow)]
    forms += [secret.rpartition(":")[2] for secret in secrets]
    assert all(len(form) >= 12 for form in forms)
    file = service.root / "service" / "credentials.json"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    files = [f for f in service.folder.rglob("*") if f.is_file() and f != file]
    assert len(files) > 20
    for found in files:
        content = found.read_bytes()
        assert not [form for form in forms if form.encode() in content], found
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        assert not [form for form in forms if form.encode() in line], line


# The command line ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """`querist` in a folder of its own, on runs that can be held."""

    folder: Path

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from querist.deployments.cli import main; main()", *args]
        return subprocess.Popen(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=held_environment(self.folder, PREFECT_HOME=str(self.folder / "home"), **env),
            start_new_session=True,
        )  # fmt: skip

    def __call__(self, *args: str, **env: str) -> None:
        process = self.start(*args, **env)
        out, _ = process.communicate(timeout=180)
        assert process.returncode == 0, out

    def held_run(self, run_id: str, phase: str, **env: str) -> subprocess.Popen[str]:
        """A run that stands in a phase."""
        (self.folder / "held.reached").unlink(missing_ok=True)
        (self.folder / "held").write_text(phase)
        process = self.start("run", "experiment.yaml", "--run-id", run_id, **env)
        until((self.folder / "held.reached").exists, 90, f"the run is in {phase}")
        return process

    def outcome(self, run_id: str) -> tuple[dict[str, str], list[str]]:
        """How a run ended, and what was billed for it."""
        asked = self.folder / "asked"
        billed = sorted(asked.read_text().splitlines())
        asked.unlink()
        return result(self.folder / "active_learning_logs" / run_id), billed


def command(folder: Path) -> Command:
    content = EXPERIMENT | {"tracking": {"enabled": False}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    return Command(folder)


@pytest.fixture
def querist(tmp_path: Path) -> Command:
    return command(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: Any
) -> tuple[dict[str, str], list[str]]:
    """The outcome of a run to which nothing happens."""
    querist = command(tmp_path_factory.mktemp("undisturbed"))
    querist("run", "experiment.yaml", "--run-id", "whole", PREFECT_API_URL=prefect_server.api_url)
    files, billed = querist.outcome("whole")
    assert len(set(billed)) == len(billed) == ITERATIONS * LABELS
    return files, billed


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", ["SIGTERM", "Ctrl-C"])
def test_row_4_a_command_is_stopped(
    way: str,
    phase: str,
    querist: Command,
    undisturbed: tuple[dict[str, str], list[str]],
    prefect_server: Any,
    tries: Tries,
    tried: Survived,
    survived: Survived,
) -> None:
    api = {"PREFECT_API_URL": prefect_server.api_url}
    for number in range(tries(4, in_ci(way, phase), 10)):
        tried(4)
        run_id = f"stopped-{number}"
        process = querist.held_run(run_id, phase, **api)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM if way == "SIGTERM" else signal.SIGINT)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 1, out
        assert "`querist resume` goes on" in out
        left = max(0.1, 10 - (time.monotonic() - started))
        until(lambda: not processes(str(querist.folder)), left, "no process is left")
        (querist.folder / "held").unlink()
        querist("resume", run_id, **api)
        assert querist.outcome(run_id) == undisturbed
        survived(4)


@pytest.mark.timeout(1200)
def test_row_6_the_prefect_server_is_away(
    querist: Command,
    undisturbed: tuple[dict[str, str], list[str]],
    tries: Tries,
    tried: Survived,
    survived: Survived,
) -> None:
    from querist.deployments.embedded_server import SHARED_SETTINGS, listen, start_prefect

    port, home = free_port(), str(querist.folder / "server")
    env = held_environment(querist.folder, PREFECT_HOME=home, **SHARED_SETTINGS)
    url = f"http://127.0.0.1:{port}/api"

    def server() -> subprocess.Popen[bytes]:
        with listen("127.0.0.1", port) as listener:
            return start_prefect(listener, env)

    process = server()
    try:
        until(lambda: answers(f"{url}/health") == 200, 180, "the server answers")
        for number in range(tries(6, 1, 5)):
            tried(6)
            run_id = f"away-{number}"
            run = querist.held_run(run_id, "label", PREFECT_API_URL=url)
            process.kill()
            process.wait()
            (querist.folder / "held").unlink()  # the run meets a server that is away
            time.sleep(30.0 if NIGHTLY else 8.0)
            process = server()
            out, _ = run.communicate(timeout=240)
            assert run.returncode == 0, out
            assert querist.outcome(run_id) == undisturbed
            log = querist.folder / "active_learning_logs" / run_id / "driver_log.json"
            events = map(json.loads, log.read_text().splitlines())
            done = [(e["iteration"], e["phase"]) for e in events if e["event"] == "end"]
            assert done
            assert len(done) == len(set(done)), "a phase was done twice"
            survived(6)
    finally:
        process.kill()
        process.wait()
