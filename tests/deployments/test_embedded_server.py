"""The temporary server: whom it belongs to, when it ends, and that it takes many writers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from querist.deployments import embedded_server
from querist.deployments.embedded_server import (
    EmbeddedServer,
    ServerError,
    ServerIfNeeded,
    has_configured_server,
)

from ..conftest import CONFIGURES_PREFECT, environment


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in CONFIGURES_PREFECT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


def test_nothing_is_configured(unconfigured: Path) -> None:
    assert not has_configured_server()


def test_the_environment_names_a_server(
    unconfigured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert has_configured_server()
    with ServerIfNeeded() as server:
        assert server is None


@pytest.mark.parametrize(
    ("profiles", "configured"),
    [
        ('active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "http://ours:4200/api"\n', True),
        (
            'active = "bare"\n[profiles.bare]\n[profiles.ours]\nPREFECT_API_URL = "http://x"\n',
            False,
        ),
        ("[profiles.ours]\n", False),
        ("this is no TOML", False),
    ],
)
def test_the_active_profile_names_a_server(
    unconfigured: Path, profiles: str, configured: bool
) -> None:
    (unconfigured / "profiles.toml").write_text(profiles)
    assert has_configured_server() is configured


def test_another_profile_is_chosen(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unconfigured / "profiles.toml").write_text(
        'active = "bare"\n[profiles.bare]\n[profiles.ours]\nPREFECT_API_URL = "http://x"\n'
    )
    monkeypatch.setenv("PREFECT_PROFILE", "ours")
    assert has_configured_server()


def test_it_writes_to_prefects_usual_database(prefect_server: Any, prefect_home: Path) -> None:
    assert prefect_server.api_url.startswith("http://127.0.0.1:")
    assert (prefect_home / "prefect.db").is_file()


def test_four_writers_at_once_are_all_served(prefect_server: Any) -> None:
    import httpx

    async def writer(client: httpx.AsyncClient, number: int) -> list[int]:
        codes = []
        for i in range(25):
            answer = await client.post("/flows/", json={"name": f"flow {number} {i}"})
            codes.append(answer.status_code)
            run = {"flow_id": answer.json()["id"], "state": {"type": "RUNNING"}}
            codes.append((await client.post("/flow_runs/", json=run)).status_code)
        return codes

    async def all_writers() -> list[list[int]]:
        async with httpx.AsyncClient(base_url=prefect_server.api_url, timeout=60) as client:
            return await asyncio.gather(*(writer(client, n) for n in range(4)))

    codes = {code for of_writer in asyncio.run(all_writers()) for code in of_writer}
    assert codes <= {200, 201}


def test_transactions_begin_immediate() -> None:
    script = """
import asyncio
from querist.deployments import prefect_app
from prefect.server.database.configurations import AioSqliteConfiguration
from contextlib import asynccontextmanager
asked = []
@asynccontextmanager
async def begin(self, session, with_for_update=False):
    asked.append(with_for_update)
    yield session
AioSqliteConfiguration.begin_transaction = begin
prefect_app._begin_immediate()
async def main():
    async with AioSqliteConfiguration.begin_transaction(None, "session") as given:
        assert given == "session"
asyncio.run(main())
assert asked == [True], asked
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), timeout=60)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_ends_with_a_parent_that_is_killed(prefect_home: Path, tmp_path: Path) -> None:
    """The parent is killed while the server starts, and has not told it to end."""
    script = (
        "from querist.deployments.embedded_server import EmbeddedServer\n"
        "import time\n"
        "server = EmbeddedServer()\n"
        "print(server._process.pid, flush=True)\n"
        "server.wait()\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(PREFECT_HOME=str(prefect_home)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    assert parent.stdout.readline() == "ready\n"
    assert alive(server)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while alive(server) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(server)


def test_a_server_that_cannot_start_is_heard_of(
    unconfigured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server.sys, "executable", "/bin/false")
    server = EmbeddedServer()
    with pytest.raises(ServerError, match="ended with exit code 1"):
        server.wait()
    server.stop()
