"""Whether anybody is there at a tracking server, found out in a second and without mlflow."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

PATIENCE_SECONDS = 1.0
_STATUS = b"HTTP/1.1 5"
_PORTS = {"http": 80, "https": 443}


def greet(uri: str) -> bool:
    """Knock at a tracking server: whether it answers at once.

    Anything that is not plain HTTP without a proxy is only knocked at, or not at all, and taken
    for one that answers: MLflow knows more ways to a server than this function.

    Returns:
        False for a server that takes the connection and says nothing, or that it cannot: it may be
        slow, hang, or be about to start.

    Raises:
        ConnectionError: nobody listens there.
    """
    parts = urlsplit(uri)
    host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    if host is None or port is None or _by_proxy(parts.scheme, host):
        return True
    try:
        with contextlib.closing(_connect(host, port)) as connection:
            return parts.scheme != "http" or _answers(connection, host, parts.path)
    except TimeoutError:
        return False
    except OSError as error:
        raise ConnectionError(
            f"the tracking server {parts.scheme}://{host}:{port} is not there "
            f"({error.strerror or error})"
        ) from None


def _by_proxy(scheme: str, host: str) -> bool:
    proxies = getproxies()
    return (scheme in proxies or "all" in proxies) and not proxy_bypass(host)


def _connect(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
    connection.settimeout(PATIENCE_SECONDS)
    return connection


def _answers(connection: socket.socket, host: str, path: str) -> bool:
    """Whether anything comes back but an error of the server's own; MLflow judges the rest."""
    connection.sendall(f"GET {path}/health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    try:
        answer = connection.recv(len(_STATUS))
        return bool(answer) and answer[len(_STATUS) - 1 :] != b"5"
    except TimeoutError:
        return False
