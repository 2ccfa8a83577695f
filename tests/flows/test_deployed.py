"""Each learner as a flow run of a deployment: served here, as on any machine with a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import Cli
from ..deployments.test_serve import serving
from .test_parallel_learners import reasons, result, several

LEARNERS = ({"name": "a"}, {"name": "b", "stop": {"name": "max_iterations", "options": {"n": 1}}})


@pytest.fixture
def served(cli: Cli) -> Iterator[None]:
    """The deployment `active_learning`, served to the tests' Prefect server."""
    with serving(cli, "--limit", 3):
        yield


def write(cli: Cli, content: dict[str, Any]) -> None:
    (cli.cwd / "several.yaml").write_text(yaml.safe_dump(content))


def test_learners_run_wherever_the_deployment_is_served(cli: Cli, served: Any) -> None:
    content = several(*LEARNERS, parallel={"where": "deployment"}, tracking={})
    write(cli, content)
    done = cli("run", "several.yaml", "--run-id", "p", "--json")
    assert done.code == 0, (done, (cli.cwd / "serve.log").read_text())
    found = json.loads(done.out)
    assert found["verdict"] == "succeeded"
    assert reasons(found) == {
        "a": "max iterations: 3",
        "b": "criterion met: 1 of 1 iterations",
    }
    assert "Beginning subflow run 'two-moons · a'" in (cli.cwd / "serve.log").read_text()


ON_A_POOL = """
import asyncio
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.types.entrypoint import EntrypointType
from querist.flows import active_learning

async def main():
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="bench", type="process"))
    deployment = await active_learning.ato_deployment(
        name="pooled", work_pool_name="bench", entrypoint_type=EntrypointType.MODULE_PATH
    )
    await deployment.aapply()

asyncio.run(main())
"""


def test_learners_run_on_a_work_pool(cli: Cli) -> None:
    made = subprocess.run(
        [sys.executable, "-c", ON_A_POOL], cwd=cli.cwd, env=cli.env, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    log = cli.cwd / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "bench",
             "--type", "process", "--limit", "2"],
            cwd=cli.cwd, env={**cli.env, "PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        where = {"where": "deployment", "address": "active_learning/pooled"}
        write(cli, several(*LEARNERS, parallel=where))
        done = cli("run", "several.yaml", "--run-id", "p", "--json")
        assert done.code == 0, (done, log.read_text())
        assert json.loads(done.out)["verdict"] == "succeeded"
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(30)


def test_who_cancels_ends_them_there(cli: Cli, served: Any) -> None:
    content = several(*LEARNERS, parallel={"where": "deployment"}, name="cancelled")
    content["driver"]["max_active_learning_steps"] = 5000
    content["strategies"] = {**content["strategies"], "query": {"name": "random", "n": 1}}
    write(cli, content)
    process = cli.start("run", "several.yaml", "--run-id", "p")
    log = cli.root / "p-a" / "metrology.json"
    wait_for(log, 120)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "querist resume" in err
    quiet = time.monotonic()
    until = quiet + 120
    last = log.stat().st_mtime_ns
    while time.monotonic() - quiet < 5:
        assert time.monotonic() < until, "the learner goes on"
        time.sleep(0.5)
        if log.stat().st_mtime_ns != last:
            last, quiet = log.stat().st_mtime_ns, time.monotonic()


def wait_for(path: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.1)


def test_a_deployment_that_is_not_there(cli: Cli) -> None:
    where = {"where": "deployment", "address": "active_learning/nowhere"}
    write(cli, several({"name": "a"}, parallel=where))
    done = cli("run", "several.yaml", "--run-id", "p")
    assert done.code == 1
    assert "there is no deployment 'active_learning/nowhere'" in done.err
    assert reasons(result(cli))["a"].startswith("failed: ConfigurationError")
