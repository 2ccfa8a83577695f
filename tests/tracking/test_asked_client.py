"""What a refusal of the tracking server means, in words."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from querist.tracking.asked_client import AskedClient, TrackerRefusedError
from querist.tracking.asking import Asking, asked
from querist.tracking.deliver import deliver
from querist.tracking.delivery import LOG_FILE, Delivery
from querist.tracking.progress import read_progress
from querist.tracking.spool import TrackingSpool

from .conftest import Start


class Guarded(http.server.ThreadingHTTPServer):
    """A server that lets nobody in."""

    status = 401

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusing)
        self.heard: list[str] = []
        self.uri = f"http://127.0.0.1:{self.server_port}"


class Refusing(http.server.BaseHTTPRequestHandler):
    server: Guarded

    def do_GET(self) -> None:
        self.server.heard.append(self.headers.get("Authorization", ""))
        body = b"You are not authenticated."
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    server = Guarded()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_server_that_asks_who_is_there_says_what_to_set(
    guarded: Guarded, spool: TrackingSpool, start: Start
) -> None:
    spool.append("start", **start(uri=guarded.uri, artifact_root=None))
    error = str(deliver(spool.folder).error)
    assert error.startswith(f"TrackerRefusedError: {guarded.uri} asks who is there: set MLFLOW_")
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in error
    assert read_progress(spool.folder).error == error
    guarded.status = 403
    error = str(deliver(spool.folder).error)
    assert "does not let the user of MLFLOW_TRACKING_USERNAME do this" in error


def test_the_password_comes_from_the_environment_and_is_written_nowhere(
    guarded: Guarded, spool: TrackingSpool, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-7f3a")
    spool.append("start", **start(uri=guarded.uri, artifact_root=None))
    spool.append("end", status="FINISHED")
    delivery = Delivery(spool.folder)
    delivery.start()
    state = delivery.wait(30)
    assert "asks who is there" in str(state.error)
    header = "Basic " + base64.b64encode(b"somebody:canary-7f3a").decode()
    assert header in guarded.heard
    process = delivery._process
    assert process is not None
    process.kill()
    process.wait()
    written = [path for path in spool.folder.rglob("*") if path.is_file()]
    assert {LOG_FILE, "tracking.jsonl", "tracking.state.json"} <= {path.name for path in written}
    for path in written:
        content = path.read_bytes()
        assert b"canary" not in content
        assert base64.b64encode(b"canary-7f3a") not in content
        assert header.encode() not in content


def test_a_password_in_the_address_reaches_neither_the_network_nor_the_notes(
    guarded: Guarded, spool: TrackingSpool, start: Start
) -> None:
    """An older run's spool may have one; it is not used and not copied."""
    uri = guarded.uri.replace("://", "://me:canary@")
    spool.append("start", **start(uri=uri, artifact_root=None))
    report = deliver(spool.folder)
    assert report.pending == 1
    assert "a tracking URI holds no password" in str(report.error)
    assert guarded.heard == []
    for path in spool.folder.iterdir():
        assert path.name == "tracking.jsonl" or b"canary" not in path.read_bytes()
    spool.append("start", **start(uri=guarded.uri, artifact_root=None))
    assert "asks who is there" in str(deliver(spool.folder).error)


def test_an_answer_is_due_during_a_call_and_other_errors_stay_what_they_are(
    tmp_path: Path,
) -> None:
    due: list[int | None] = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            due.append(asked(tmp_path))

        def get(self, value: int) -> int:
            due.append(asked(tmp_path))
            return 1 // value

    client = AskedClient(Client, "postgresql://there/db", Asking(tmp_path))
    assert client.get(1) == 1
    with pytest.raises(ZeroDivisionError):
        client.get(0)
    assert due == [1, 2, 3]
    assert asked(tmp_path) == 3
    assert issubclass(TrackerRefusedError, PermissionError)
