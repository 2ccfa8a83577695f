"""Debian's PostgreSQL, started by the tests themselves on loopback, and stopped with them."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from querist.runs.open import LEDGER_VARIABLE

START_SECONDS = 30
_numbers = itertools.count()


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server with its defaults (so with fsync), that asks for a password.

    Attributes:
        process: the server.
        folder: its data.
        port: where it listens on loopback.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    password: str = field(repr=False)

    def url(self, database: str) -> str:
        """Where a database is, for SQLAlchemy."""
        return f"postgresql+psycopg://querist:{self.password}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Send a statement, in a transaction of its own; returns what it answers."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="querist", password=self.password,
            dbname=database, autocommit=True, connect_timeout=5,
        ) as connection:  # fmt: skip
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, options: str = "") -> str:
        """An empty database; returns its URL."""
        name = f"querist_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, and close the connections to it."""
        self.run(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def stop(self) -> None:
        """Close the connections, end, and remove the data."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """PostgreSQL's programs are not on the PATH of Debian."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version)
    return shutil.which(name) or (str(found[-1]) if found else None)


def _version(program: Path) -> int:
    return int(program.parts[-3]) if program.parts[-3].isdecimal() else 0


def _server_user() -> str | None:
    """Who runs the server: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(postgres: str, initdb: str) -> Server:
    user = _server_user()
    # Not below pytest's own folder, which the server's user cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="querist-postgres-"))
    data, secret, log = folder / "data", folder / "secret", folder / "log"
    password = secrets.token_urlsafe(12)
    secret.write_text(password)
    secret.chmod(0o600)
    log.touch()
    become: list[str] = []
    if user is not None:
        for path in (folder, secret, log):
            shutil.chown(path, user)
        group = str(pwd.getpwnam(user).pw_gid)
        become = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    subprocess.run(
        ["setpriv", *become, initdb, "--pgdata", str(data), "--username", "querist",
         "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"],
        check=True, capture_output=True, cwd=folder, timeout=120,
    )  # fmt: skip
    port = _free_port()
    with log.open("ab") as output:
        # The kernel ends it when this process dies, however that comes.
        process = subprocess.Popen(
            ["setpriv", *become, "--pdeathsig", "INT", postgres, "-D", str(data),
             "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1",
             "-c", f"unix_socket_directories={folder}"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
    server = Server(process, folder, port, password)
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
            return server
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                words = log.read_text()
                server.stop()
                raise RuntimeError(f"PostgreSQL did not start: {words}") from None
            time.sleep(0.05)


@functools.cache  # one for the whole session, whichever folders of tests ask for it
def _server() -> Server | None:
    postgres, initdb = _program("postgres"), _program("initdb")
    if postgres is None or initdb is None:
        return None
    server = _start(postgres, initdb)
    atexit.register(server.stop)
    return server


@pytest.fixture(scope="session")
def postgres() -> Server:
    """A PostgreSQL server; without one installed, a skip (in CI: a failure)."""
    server = _server()
    if server is None:
        words = "PostgreSQL is not installed: on Debian, apt install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return server


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """An empty PostgreSQL database."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The configured database for ledgers; empty = a file in the folder of the run or model."""
    if request.param == "sqlite":
        monkeypatch.delenv(LEDGER_VARIABLE, raising=False)
        yield ""
        return
    server = request.getfixturevalue("postgres")
    made = server.new_database()
    monkeypatch.setenv(LEDGER_VARIABLE, made)
    yield made
    server.drop_database(made)
