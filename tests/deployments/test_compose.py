"""The compose file's rules. Docker is not needed: the file is read, not run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[2] / "deployments" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
SECRET = re.compile(r"PASSWORD|AUTH_STRING|SECRET|_URL$|_URI$|CONNECTION_URL")
NO_SECRET = {
    "PREFECT_API_URL", "PREFECT_UI_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_AUTH_CONFIG_PATH",
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
            assert re.search(r"\$\{QUERIST_[A-Z_]+:\?[^}]+\}", value), name
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
    assert settings("runner")["QUERIST_LEDGER_URL"].startswith("postgresql+psycopg://")
    assert "synchronous_commit=on" in SERVICES["postgres"]["command"]
    assert settings("runner")["QUERIST_HOST"] == "process"
    assert settings("runner")["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
