"""`querist up`: what it refuses, and how it keeps its parts alive.

The whole of it, with its servers, is in tests/faults/test_prefect.py.
"""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from querist.deployments import up
from querist.deployments.credentials import Credentials
from querist.deployments.embedded_server import ServerError
from querist.deployments.settings import Place
from querist.deployments.up import Part, answers
from querist.errors import ConfigurationError
from querist.runs.lock import RunLock

from ..conftest import Cli

SECRETS = Credentials("me:prefect-password", "mlflow-password", "a-key-of-some-length")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def ending(code: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", f"import sys; sys.exit({code})"])
    process.wait()
    return process


def lasting() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port"])
def test_a_port_that_is_taken(option: str, taken: int, cli: Cli) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    ports = {"--prefect-port": free, "--mlflow-port": free, option: taken}
    done = cli("up", *(word for pair in ports.items() for word in pair))
    assert done.code == 1, done
    assert f"port {taken} cannot be listened on" in done.err
    assert f"choose another with {option}" in done.err
    assert "Traceback" not in done.err


def test_an_address_that_others_reach(cli: Cli) -> None:
    said = cli("up", "--host", "0.0.0.0").says_one_line(2)
    assert "--host 0.0.0.0 lets other machines reach the servers" in said
    assert not cli.root.exists(), "refused before anything is made"


def test_a_second_one_in_the_same_folder(cli: Cli) -> None:
    service = cli.root / "service"
    service.mkdir(parents=True)
    lock = RunLock(service)
    try:
        done = cli("up")
    finally:
        lock.release()
    said = done.says_one_line(2)
    assert f"another `querist up` uses {service}, process {os.getpid()}" in said
    assert "choose another --root" in said
    assert not (service / up.CREDENTIALS_FILE).exists()


def test_mlflow_was_set_up_with_another_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = up.mlflow_part(Place(tmp_path, "127.0.0.1", 4200, 5000), SECRETS, {})
    monkeypatch.setattr(up, "answers", lambda *_: 401)
    with pytest.raises(ConfigurationError, match="set up with another password") as error:
        part.ready()
    assert SECRETS.mlflow_password not in str(error.value)


# Its parts ----------------------------------------------------------------------------------------


def test_a_part_that_ends_at_once(tmp_path: Path) -> None:
    part = Part("it", lambda: ending(3), lambda: False, tmp_path / "log")
    part.run()
    with pytest.raises(ServerError, match=r"it ended with exit code 3: see .*log"):
        part.wait(threading.Event())


def test_a_part_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    started, said, pauses = [], [], []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    def start() -> subprocess.Popen[bytes]:
        started.append(1)
        if len(started) == 3:
            raise ServerError("its port is still taken")
        return ending(9)

    part = Part("it", start, lambda: True, tmp_path / "log")
    part.run()
    for _ in range(7):
        up._start_again(part, Impatient(), said.append)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert len(started) == 8, "one that cannot start is tried again"
    assert "it ended with exit code 9 (see" in said[0]
    part.process = lasting()
    try:
        up._start_again(part, Impatient(), said.append)
        assert part.pause == 30, "it has just been started"
        part.started -= 61
        up._start_again(part, Impatient(), said.append)
        assert part.pause == 1
        assert len(said) == 7
    finally:
        part.stop()
    assert part.process.returncode == -15


def test_nothing_is_started_again_once_we_are_stopped(tmp_path: Path) -> None:
    started: list[int] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(1)
        return ending(0)

    part = Part("it", start, lambda: True, tmp_path / "log")
    part.run()
    stopped = threading.Event()
    stopped.set()
    up._start_again(part, stopped, lambda _: None)
    assert len(started) == 1


def test_answers_go_past_proxies(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asks(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Basic bWU6aXQ="
            self.send_response(200 if known else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{taken}")
    server = http.server.HTTPServer(("127.0.0.1", 0), Asks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        assert answers(url) == 401
        assert answers(url, "me:it") == 200
    finally:
        server.shutdown()
        server.server_close()
    assert answers(url) is None
