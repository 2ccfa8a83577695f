"""Whether anybody is there, without mlflow, in a second."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from querist.tracking import reach
from querist.tracking.reach import greet


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def uri_of(listener: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/below"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.0 401 No\r\n\r\n", True), (b"x", True),
        (b"HTTP/1.1 503 No\r\n\r\n", False), (b"", False),
    ],
)  # fmt: skip
def test_any_answer_but_an_error_of_the_server_counts(
    listener: socket.socket, answer: bytes, counts: bool
) -> None:
    asked: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            asked.append(client.recv(1000))
            client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    assert greet(uri_of(listener)) is counts
    thread.join()
    assert asked[0].startswith(b"GET /below/health HTTP/1.0\r\nHost: 127.0.0.1\r\n")


def test_silence_is_told_from_nobody(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.1)
    assert not greet(uri_of(listener))
    assert greet(uri_of(listener, "https"))  # it might want a certificate: MLflow knows
    uri = uri_of(listener)
    listener.close()
    for scheme in ("http", "https"):
        with pytest.raises(ConnectionError, match=rf"{scheme}://127\.0\.0\.1:\d+ is not there"):
            greet(uri.replace("http", scheme))


def test_a_proxy_is_left_to_mlflow(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uri_of(listener)
    listener.close()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert greet(uri)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ConnectionError):
        greet(uri)
