"""`querist up` in a process of its own, and a small run that can be held in any phase."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from querist.deployments.up import answers

from ..conftest import environment

HERE = Path(__file__).parent
ITERATIONS, LABELS = 3, 4
EXPERIMENT: dict[str, Any] = {
    "name": "held moons",
    "seed": 7,
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 300}},
        "initial": {"share": 0.1},
    },
    "learner": "held:Model",
    "training": {
        "loss": "bce_with_logits",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2}},
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 4,
    },
    "strategies": {
        "query": {"name": "random", "n": LABELS},
        "label": {"name": "callable", "options": {"function": "held:label", "repeatable": True}},
        "metrology": "f1",
    },
    "driver": {"max_active_learning_steps": ITERATIONS, "checkpoint_interval": 0},
}
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def until(condition: Callable[[], Any], seconds: float, what: str) -> float:
    """Wait for something; returns the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(words: str) -> list[int]:
    """Living processes whose command line or environment contains some words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            content = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if words.encode() in content and state != "Z" and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def held_environment(folder: Path, **more: str) -> dict[str, str]:
    import_path = os.pathsep.join([str(HERE), environment()["PYTHONPATH"]])
    return environment(
        PYTHONPATH=import_path,
        QUERIST_ALLOWED_PACKAGES="held,examples",
        HELD=str(folder / "held"),
        ASKED=str(folder / "asked"),
        **more,
    )


def result(folder: Path) -> dict[str, str]:
    """The SHA-256 of everything about a run that may not depend on how often it was stopped."""
    files = [*(folder / "checkpoints").rglob("*.safetensors"), folder / "f1_metrology.json"]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@dataclass
class Service:
    """`querist up` in `folder`."""

    folder: Path
    env: dict[str, str]
    prefect_port: int
    mlflow_port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.folder / "active_learning_logs"

    def start(self) -> None:
        command = [sys.executable, "-c", "from querist.deployments.cli import main; main()", "up"]
        ports = ["--prefect-port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port)]
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *ports, "--poll", "1", *self.options], cwd=self.folder, env=self.env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        said = (self.folder / "up.log").stat().st_size

        def ready() -> bool:
            assert self.process is not None
            text = (self.folder / "up.log").read_bytes()[said:].decode()
            assert self.process.poll() is None, text
            return "Ctrl-C" in text

        until(ready, 180, "the servers are up")

    def stop(self, number: int = signal.SIGINT) -> float:
        """Send a signal to `up`; returns the seconds until it and all of its processes are gone."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        until(lambda: not processes(str(self.root)), 20, "no process is left")
        return time.monotonic() - started

    def generated(self) -> dict[str, str]:
        """The credentials that `up` made, for want of others in its environment."""
        made: dict[str, str] = json.loads((self.root / "service/credentials.json").read_text())
        return made

    def api(self, path: str, body: Any = None) -> Any:
        given = self.env.get("QUERIST_PREFECT_AUTH")
        auth = (given or self.generated()["prefect_auth"]).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.prefect_port}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Basic {base64.b64encode(auth).decode()}",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def healthy(self) -> bool:
        """Whether both servers answer."""
        prefect = answers(f"http://127.0.0.1:{self.prefect_port}/api/health")
        return prefect == answers(f"http://127.0.0.1:{self.mlflow_port}/health") == 200

    def hold(self, phase: str) -> None:
        (self.folder / "held.reached").unlink(missing_ok=True)
        (self.folder / "held").write_text(phase)

    def held(self) -> bool:
        return (self.folder / "held.reached").exists()

    def go_on(self) -> None:
        (self.folder / "held").unlink(missing_ok=True)

    def trigger(self, run_id: str) -> str:
        """A flow run of the deployment, as the UI makes it; returns its id."""
        from querist.config.load import build_experiment

        experiment = build_experiment(EXPERIMENT).model_dump(mode="json")
        deployment = self.api("/deployments/name/active_learning/active_learning")["id"]
        parameters = {"experiment": experiment, "run_id": run_id}
        made = self.api(
            f"/deployments/{deployment}/create_flow_run",
            {"parameters": parameters, "state": {"type": "SCHEDULED"}},
        )
        return str(made["id"])

    def state(self, flow_run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api(f"/flow_runs/{flow_run}")["state"]
        return found

    def cancel(self, flow_run: str) -> None:
        self.api(f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})

    def wait(self, flow_run: str, seconds: float) -> float:
        """Until a flow run has ended; returns the seconds."""
        return until(
            lambda: self.state(flow_run)["type"] in FINAL, seconds, "the flow run has ended"
        )

    def part(self, words: bytes) -> int:
        """The child of `up` whose command line has these words."""
        assert self.process is not None
        (found,) = (child for child, line in children(self.process.pid) if words in line)
        return found

    def runner(self) -> int:
        """The runner's guard, which leads the group of it and its flow runs."""
        return self.part(b"querist.deployments.serve")

    def servers(self) -> list[int]:
        """Prefect's process and MLflow's; the latter has a guard."""
        (mlflow,) = (child for child, _ in children(self.part(b"basic-auth")))
        return [self.part(b"prefect_app"), mlflow]


def children(parent: int) -> list[tuple[int, bytes]]:
    """The living children of a process, and their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append((int(folder.name), line))
    return found
