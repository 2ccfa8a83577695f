"""A temporary Prefect server for one command, where no server is configured.

It writes to Prefect's usual SQLite database (in `PREFECT_HOME`), so that `prefect server start`
shows the run afterwards.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.error import URLError

from querist.errors import QueristError

PARENT_VARIABLE = "QUERIST_PREFECT_PARENT"
"""Tells the server which process it must not outlive."""
START_SECONDS = 120.0
"""A fresh home migrates its database first, which takes a while."""

SHARED_SETTINGS = {
    # The task run recorder writes in batches: one by one it fights the API for SQLite's lock.
    # Up to a second of task states is in memory; they are flushed when the server ends.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""What every Prefect server has that we start."""

SERVER_SETTINGS = {
    **SHARED_SETTINGS,
    # Nobody has automations on a server that lives for one command.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class ServerError(QueristError, RuntimeError):
    """A server that we start did not start."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket for a server that inherits it; port 0 is any free one.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket()
    # Accepted connections inherit it; without it every second write waits 40 ms for an ACK
    # (uvicorn takes an inherited socket for a Unix one and does not set it itself).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(128)
    return listener


def start_prefect(
    listener: socket.socket, environment: Mapping[str, str], log: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """A Prefect server on a socket; it ends with this process.

    Args:
        listener: where it listens.
        environment: all of its environment.
        log: where its output goes; None for this process's own.
    """
    command = [
        sys.executable, "-m", "uvicorn",
        "--factory", "querist.deployments.prefect_app:create_app",
        "--fd", str(listener.fileno()),
        "--log-level", "error", "--lifespan", "on", "--timeout-keep-alive", "60",
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env={**environment, PARENT_VARIABLE: str(os.getpid())},
        stdout=log,
        stderr=log,
        pass_fds=[listener.fileno()],
        # Ctrl-C is for us: we end the server when the run is written down.
        start_new_session=True,
    )


class EmbeddedServer:
    """Starts the server at once; `wait` blocks until it answers, so that work goes on meanwhile."""

    def __init__(self) -> None:
        listener = listen("127.0.0.1", 0)
        self.api_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        self._process = start_prefect(listener, {**os.environ, **SERVER_SETTINGS})
        # The server holds the socket now: it takes connections from the first moment on.
        listener.close()

    def wait(self) -> None:
        """Block until the server answers.

        Raises:
            ServerError: it ended, or does not answer in time.
        """
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ServerError(
                    "the temporary Prefect server ended with exit code "
                    f"{self._process.returncode}: its messages are above"
                )
            try:
                left = max(1.0, until - time.monotonic())
                with urllib.request.urlopen(f"{self.api_url}/health", timeout=left):
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise ServerError(f"the temporary Prefect server did not answer in {START_SECONDS:.0f} s")

    def stop(self) -> None:
        """End the server; it writes down what it holds first."""
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def prefect_api(server: EmbeddedServer | None) -> Iterator[None]:
    """Flows inside report to `server`, or to the server that Prefect is configured with."""
    if server is None:
        yield
        return
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
        temporary_settings,
    )

    # Prefect imports these at its first flow run: better while its server starts.
    for module in ("fastapi", "graphviz"):
        with suppress(ImportError):
            import_module(module)
    server.wait()
    with temporary_settings(
        {
            PREFECT_API_URL: server.api_url,
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
        }
    ):
        yield


class ServerIfNeeded:
    """Starts a temporary server unless Prefect is configured with one."""

    def __init__(self) -> None:
        self.server = None if has_configured_server() else EmbeddedServer()

    def __enter__(self) -> EmbeddedServer | None:
        return self.server

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.server is not None:
            self.server.stop()


def has_configured_server() -> bool:
    """Whether the environment or Prefect's active profile names a server.

    Looks without importing Prefect: the temporary server must start before anything slow.
    """
    import tomllib

    if os.environ.get("PREFECT_API_URL"):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    try:
        content = tomllib.loads(profiles.read_text())
    except (OSError, ValueError):
        return False
    active = os.environ.get("PREFECT_PROFILE", content.get("active"))
    return bool(content.get("profiles", {}).get(active, {}).get("PREFECT_API_URL"))
