"""The compose file's rules. Docker is not needed: its commands are run as they stand there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from querist.deployments.up import answers
from tests.shared.postgres import Server, postgres

from ..conftest import REPOSITORY, environment

__all__ = ["postgres"]
FILE = Path(__file__).parents[2] / "deployments" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
DOCKERFILE = FILE.with_name("Dockerfile").read_text()
OURS = [name for name, service in SERVICES.items() if "QUERIST_IMAGE" in service["image"]]
SECRET = re.compile(r"PASSWORD|AUTH_STRING|SECRET|KEY|_URL$|_URI$|CONNECTION_URL")
NO_SECRET = {
    "PREFECT_API_URL", "PREFECT_UI_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID",
}  # fmt: skip


def settings(service: str) -> dict[str, str]:
    return SERVICES[service].get("environment", {})


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))
    assert SERVICES[service].get("network_mode") != "host"
    assert "privileged" not in SERVICES[service]


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_come_from_the_environment_and_have_no_default(service: str) -> None:
    for name, value in settings(service).items():
        if SECRET.search(name) and name not in NO_SECRET:
            assert re.search(r"\$\{QUERIST_[A-Z0-9_]+:\?[^}]+\}", value), name
            assert ":-" not in value, name
    for name, value in settings(service).items():  # none beside its variable either
        for password in re.findall(r"://[^:/@]+:([^@]+)@", value):
            assert password.startswith("${"), name


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_on_a_command_line(service: str) -> None:
    words = " ".join(
        part for key in ("command", "entrypoint") for part in SERVICES[service].get(key, [])
    )
    assert "${" not in words
    assert "PASSWORD" not in words


def test_prefect_asks_for_credentials_and_answers_one_origin() -> None:
    prefect = settings("prefect")
    assert "QUERIST_PREFECT_AUTH:?" in prefect["PREFECT_SERVER_API_AUTH_STRING"]
    assert prefect["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert prefect["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_mlflow_asks_for_credentials_and_executes_nothing() -> None:
    mlflow, command = settings("mlflow"), " ".join(SERVICES["mlflow"]["command"])
    assert "--app-name basic-auth" in command
    assert "--cors-allowed-origins http://127.0.0.1:5000" in command
    assert "default_permission = NO_PERMISSIONS" in command
    assert mlflow["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert mlflow["MLFLOW_BASIC_AUTH_FAIL_CLOSED"] == "true"


def test_runs_are_stored_durably() -> None:
    assert "synchronous_commit=on" in SERVICES["postgres"]["command"]
    for service in ("runner", "worker"):
        assert settings(service)["QUERIST_LEDGER_URL"].startswith("postgresql+psycopg://")
        assert settings(service)["QUERIST_HOST"] == "process"
        assert settings(service)["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
        assert settings(service)["QUERIST_ROOT"] == "/runs"
        assert SERVICES[service]["volumes"] == ["runs:/runs"]


# The image ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [
    *(service["image"] for service in SERVICES.values() if "$" not in service["image"]),
    *re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE),
])  # fmt: skip
def test_images_of_others_have_one_version(image: str) -> None:
    assert re.search(r":\d+\.\d+", image), image


def test_nobody_is_root() -> None:
    assert OURS == ["bucket", "prefect", "mlflow", "runner", "pool", "worker"]
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"--uid {user.partition(':')[0]} " in DOCKERFILE
    for name in OURS:
        assert SERVICES[name]["user"] == user
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_is_copied_into_the_image_is_there_and_is_let_in() -> None:
    let_in = FILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        word
        for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    ]
    assert {"src", "constraints.txt"} <= set(copied)
    for name in copied:
        assert (REPOSITORY / name).exists(), name
        assert f"!{name}" in let_in
    assert let_in[1] == "*"
    assert "pip install -c constraints.txt" in DOCKERFILE


def test_each_variable_is_explained() -> None:
    text = FILE.read_text()
    explained = set(re.findall(r"QUERIST_[A-Z0-9_]+", text[: text.index("x-querist")]))
    assert set(re.findall(r"\$\{(QUERIST_[A-Z0-9_]+)", text)) == explained


@pytest.mark.parametrize("service", ["postgres", "store", "prefect", "mlflow", "worker"])
def test_what_others_wait_for_tells_how_it_is(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"]


def test_its_commands_are_there() -> None:
    """With the options that it gives them."""
    known = {
        ("querist", "serve"): [],
        ("prefect", "server", "start"): ["--host", "--port"],
        ("prefect", "worker", "start"): ["--pool", "--type", "--with-healthcheck"],
        ("prefect", "work-pool", "create"): ["--type", "--overwrite"],
        ("prefect", "deploy"): ["--prefect-file", "--name"],
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = " ".join(part for name in OURS for part in SERVICES[name].get("command", []))
    words = words.replace("--no-prompt ", "")
    for command, options in known.items():
        assert " ".join(command) in words
        done = subprocess.run(
            [*command, "--help"], capture_output=True, text=True, check=True,
            env=environment(PATH=path, COLUMNS="200"),
        )  # fmt: skip
        for option in options:
            assert option in words
            assert option in done.stdout, (command, option)
    assert "/opt/querist/deployments/prefect.yaml" in words
    assert "WORKDIR /opt/querist\n" in DOCKERFILE


# Databases ----------------------------------------------------------------------------------------

URLS = {
    name: re.sub(r"\$\{[^}]+\}", "password", value)
    for service in SERVICES
    for name, value in settings(service).items()
    if value.startswith("postgresql")
}


def test_drivers_are_what_the_image_is_said_to_have() -> None:
    (extras,) = re.findall(r"'\.\[([a-z0-9,]+)\]'", DOCKERFILE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [r for e in extras.split(",") for r in project["optional-dependencies"][e]]
    assert any(requirement.startswith("psycopg[binary]>=3") for requirement in wanted)
    assert any(requirement.startswith("mlflow[auth]") for requirement in wanted)
    assert any(requirement.startswith("boto3>=") for requirement in wanted)
    assert len(URLS) == 4
    drivers = {name: make_url(url).get_driver_name() for name, url in URLS.items()}
    assert drivers.pop("PREFECT_API_DATABASE_CONNECTION_URL") == "asyncpg"  # Prefect requires it
    assert set(drivers.values()) == {"psycopg"}


def test_each_database_is_made_and_has_one_user() -> None:
    names = [make_url(url).database for url in URLS.values()]
    assert len(set(names)) == len(names)
    made = re.findall(r"for name in ([a-z_ ]+);", SERVICES["databases"]["command"][0])[0].split()
    assert {*made, SERVICES["postgres"]["environment"]["POSTGRES_DB"]} == set(names)


SECRETS = {
    "QUERIST_PREFECT_AUTH": "me:prefect-password",
    "QUERIST_MLFLOW_PASSWORD": "mlflow-password",
    "QUERIST_MLFLOW_SECRET_KEY": "a-key-of-some-length",
    "QUERIST_S3_SECRET_KEY": "a-key-of-the-store",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def here(text: str, service: str, server: Server, port: int, folder: Path) -> str:
    """What the compose file says, for this machine."""
    for name, value in {**SECRETS, "QUERIST_POSTGRES_PASSWORD": server.password}.items():
        text = re.sub(rf"\$\{{{name}:\?[^}}]+\}}", value, text)
    for there, ours in {
        "$$": "$",
        "@postgres:5432/": f"@127.0.0.1:{server.port}/compose_",
        "0.0.0.0": "127.0.0.1",
        SERVICES[service]["ports"][0].rpartition(":")[2]: str(port),
        "/tmp/auth.ini": str(folder / "auth.ini"),
    }.items():
        text = text.replace(there, ours)
    return text


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("service", "databases", "path", "user"),
    [
        ("prefect", ["prefect"], "/api/admin/version", "me:prefect-password"),
        (
            "mlflow",
            ["mlflow", "mlflow_users"],
            "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
            "querist:mlflow-password",
        ),
    ],
)
def test_its_servers_start_on_postgresql_and_ask_who_is_there(
    service: str, databases: list[str], path: str, user: str, postgres: Server, tmp_path: Path
) -> None:
    for name in databases:
        postgres.run(f"CREATE DATABASE compose_{name}")
    port = free_port()
    content = SERVICES[service]
    words = [*content.get("entrypoint", []), *content["command"]]
    command = [here(word, service, postgres, port, tmp_path) for word in words]
    its = {k: here(v, service, postgres, port, tmp_path) for k, v in settings(service).items()}
    path_variable = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
            env=environment(PATH=path_variable, PREFECT_HOME=str(tmp_path / "home"), **its),
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 240
        health = "/api/health" if service == "prefect" else "/health"
        while answers(url + health) != 200:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.2)
        assert answers(url + path) == 401
        assert answers(url + path, "querist:guessed") == 401
        assert answers(url + path, user) == 200
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for name in databases:
            postgres.run(f"DROP DATABASE compose_{name} WITH (FORCE)")
