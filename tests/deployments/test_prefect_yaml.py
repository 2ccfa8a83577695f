"""`deployments/prefect.yaml`, deployed to a real Prefect server, and carried out by a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import PrefectClient

from querist.deployments.served_flows import DESCRIPTIONS, served_flow

from ..conftest import REPOSITORY, Cli

FILE = REPOSITORY / "deployments" / "prefect.yaml"
CONTENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
POOLS = ("process", "docker", "kubernetes")
ENVIRONMENT = {"QUERIST_IMAGE": "querist:1", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def prefect(cli: Cli, *words: object, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *map(str, words)],
        cwd=cli.cwd, env={**cli.env, **env, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def ask(cli: Cli, work: Any) -> Any:
    async def main() -> Any:
        async with PrefectClient(cli.env["PREFECT_API_URL"]) as client:
            return await work(client)

    return asyncio.run(main())


@pytest.mark.parametrize("pool", POOLS)
def test_every_flow_is_there_and_its_parameters_are_good(pool: str) -> None:
    deployments = [found for found in CONTENT["deployments"] if found["name"] == pool]
    flows = [found["entrypoint"].rpartition(".")[2] for found in deployments]
    assert sorted(flows) == sorted(DESCRIPTIONS)
    for flow, found in zip(flows, deployments, strict=True):
        assert found["entrypoint"] == f"querist.flows.{flow}.{flow}"
        assert found["description"] == DESCRIPTIONS[flow]
        assert "querist" in found["tags"]
        assert found["work_pool"]["name"] == f"querist-{pool}"
        served_flow(flow).validate_parameters(found["parameters"])


def test_no_secret_is_in_it() -> None:
    text = FILE.read_text()
    assert "PASSWORD" not in text
    assert "AUTH_STRING" not in text


def test_its_version_of_prefect_is_the_one_that_was_proved() -> None:
    constraints = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert f"prefect=={CONTENT['prefect-version']}" in constraints


@pytest.mark.timeout(600)
def test_all_are_deployed_and_a_worker_carries_one_out(cli: Cli) -> None:
    for pool in POOLS:
        prefect(cli, "work-pool", "create", f"querist-{pool}", "--type", pool, "--overwrite")
    prefect(cli, "--no-prompt", "deploy", "--prefect-file", FILE, "--all", **ENVIRONMENT)
    for pool in POOLS:
        for flow, description in DESCRIPTIONS.items():
            name = f"{flow}/{pool}"
            made = ask(cli, lambda client, name=name: client.read_deployment_by_name(name))
            assert made.description == description
            assert made.work_pool_name == f"querist-{pool}"
            assert made.entrypoint == f"querist.flows.{flow}.{flow}"
            assert not made.pull_steps
            assert made.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
            if pool != "process":
                assert made.job_variables["image"] == "querist:1"
                assert made.job_variables["env"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    made = ask(cli, lambda client: client.read_deployment_by_name("retraining/process"))
    assert made.global_concurrency_limit.limit == 1
    assert made.concurrency_options.collision_strategy == "ENQUEUE"
    assert made.parameters["settings"]["when"] == {"new_labels": 20}
    schedules = {found.slug: found for found in made.schedules}
    assert set(schedules) == {"mondays-at-six", "every-six-hours", "end-of-month"}
    assert not any(found.active for found in schedules.values())
    assert schedules["mondays-at-six"].schedule.timezone == "Europe/Berlin"
    names = {found.name for found in ask(cli, lambda client: client.read_automations())}
    assert "querist: retrain digits on labels" in names
    assert carried_out(cli) == "COMPLETED", (cli.cwd / "worker.log").read_text()
    assert (cli.cwd / "runs" / "pooled" / "summary.json").exists()


def carried_out(cli: Cli) -> str:
    """The end of a flow run of `active_learning/process`, carried out by a worker."""
    one = ask(cli, lambda client: client.read_deployment_by_name("active_learning/process"))
    parameters = {**one.parameters, "run_id": "pooled"}
    parameters["experiment"]["driver"] = {"max_active_learning_steps": 2}
    parameters["experiment"]["tracking"] = {"enabled": False}
    flow_run = ask(
        cli, lambda client: client.create_flow_run_from_deployment(one.id, parameters=parameters)
    )
    environment = {**cli.env, "QUERIST_ROOT": str(cli.cwd / "runs")}
    environment["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    with (cli.cwd / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "querist-process",
             "--type", "process"],
            cwd=cli.cwd, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while True:
            found = ask(cli, lambda client: client.read_flow_run(flow_run.id))
            if found.state is not None and found.state.is_final():
                return str(found.state.type.value)
            assert time.monotonic() < until, (cli.cwd / "worker.log").read_text()
            time.sleep(1)
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(30)

