"""`querist up --serve FILE`: servers, and a runner that serves the file."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.deployments.serving import Serving

from ..conftest import Cli, environment
from .test_serve import LABELS, RETRAINING

AUTH, PASSWORD = "me:prefect-password", "mlflow-password"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read(url: str) -> Any:
    request = urllib.request.Request(url)
    request.add_header("Authorization", f"Basic {base64.b64encode(AUTH.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def up_with(
    cli: Cli, *words: object, meanwhile: Callable[[], None] = lambda: None, **env: str
) -> tuple[int, Any, str]:
    """What is said at the start, and the deployment of the file; then everything is ended.

    Returns:
        Exit code, the deployment, and what was printed.
    """
    port = free_port()
    process = cli.start(
        "up", "--prefect-port", port, "--mlflow-port", free_port(), *words,
        QUERIST_PREFECT_AUTH=AUTH, QUERIST_MLFLOW_PASSWORD=PASSWORD, **env,
    )  # fmt: skip
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    else:
        logs = [log.read_text() for log in (cli.root / "service").glob("*.log")]
        raise AssertionError((process.communicate(), logs))
    found = read(f"http://127.0.0.1:{port}/api/deployments/name/retraining/digits")
    meanwhile()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode, found, "".join(said)


@pytest.mark.timeout(400)
def test_its_runner_serves_the_file(tmp_path: Path) -> None:
    cli = Cli(tmp_path, environment(PREFECT_HOME=str(tmp_path / "home")))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "labels.yaml").write_text(LABELS.read_text())
    (folder / "digits.yaml").write_text(yaml.safe_dump(RETRAINING))
    code, found, said = up_with(
        cli, "--serve", "files/digits.yaml", "--rrule", "FREQ=WEEKLY;BYDAY=MO", "--paused"
    )
    assert code == 0
    assert found["parameters"]["settings"]["model"] == "digits"
    assert found["paused"]
    assert found["schedules"][0]["schedule"]["rrule"].splitlines()[-1] == "FREQ=WEEKLY;BYDAY=MO"
    assert "deployments  retraining/digits, active_learning, parallel_learners" in said
    assert PASSWORD not in said


def test_a_file_that_is_wrong_is_refused_before_anything_starts(tmp_path: Path) -> None:
    cli = Cli(tmp_path, environment(PREFECT_HOME=str(tmp_path / "home")))
    (tmp_path / "digits.yaml").write_text("model: digits\n")
    assert "digits.yaml: data: " in cli("up", "--serve", "digits.yaml").says_one_line(2)
    assert not cli.root.exists()
    assert "--cron has no effect" in cli("up", "--cron", "0 6 * * 1").says_one_line(2)


def test_what_is_asked_for_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    serving = Serving(
        files=(Path("a b.yaml"),),
        every=60.0,
        timezone="Europe/Berlin",
        paused=True,
        on_labels=True,
        on_event=("x", "y"),
        notify="mail/us",
    )
    assert serving.arguments() == [
        os.fspath(tmp_path / "a b.yaml"), "--every=60.0", "--timezone=Europe/Berlin",
        "--notify=mail/us", "--on-event=x", "--on-event=y", "--paused", "--on-labels",
    ]  # fmt: skip
    assert Serving().arguments() == []
