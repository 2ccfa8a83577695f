"""What keeps strangers out of the servers of `querist up`."""

from __future__ import annotations

from pathlib import Path

import pytest

from querist.deployments import settings
from querist.deployments.credentials import Credentials
from querist.deployments.settings import Place
from querist.errors import ConfigurationError

PLACE = Place(Path("/srv/runs"), "127.0.0.1", 4200, 5000)
SECRETS = Credentials("me:prefect-canary", "mlflow-canary", "key-canary")
OURS = {
    "PATH": "/bin", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*", "MLFLOW_TRACKING_PASSWORD": "old",
    "QUERIST_PREFECT_AUTH": "me:prefect-canary", "QUERIST_MLFLOW_PASSWORD": "mlflow-canary",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true", "QUERIST_ALLOWED_PACKAGES": "mine",
}  # fmt: skip
CHOSEN = {"QUERIST_PREFECT_AUTH": "me:password-1", "QUERIST_MLFLOW_PASSWORD": "password-2"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    settings.check_host(host, exposed=False, environment={})


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.org", ""])
def test_other_addresses_need_a_flag_and_credentials(host: str) -> None:
    with pytest.raises(ConfigurationError, match="lets other machines reach the servers"):
        settings.check_host(host, exposed=False, environment=CHOSEN)
    with pytest.raises(ConfigurationError, match="set QUERIST_PREFECT_AUTH and QUERIST_MLFLOW"):
        settings.check_host(host, exposed=True, environment={})
    settings.check_host(host, exposed=True, environment=CHOSEN)


def test_the_prefect_server() -> None:
    found = settings.prefect_server(PLACE, SECRETS, OURS)
    assert found["PREFECT_SERVER_API_AUTH_STRING"] == "me:prefect-canary"
    assert found["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE"] == "100"
    assert "mlflow-canary" not in found.values()


def test_the_mlflow_server() -> None:
    found = settings.mlflow_server(PLACE, SECRETS, OURS)
    assert found["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert found["MLFLOW_AUTH_ADMIN_PASSWORD"] == "mlflow-canary"
    assert "MLFLOW_TRACKING_PASSWORD" not in found
    assert found["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////srv/runs/mlflow.db"
    assert "me:prefect-canary" not in found.values()
    command = settings.mlflow_command(PLACE)
    assert command[command.index("--app-name") + 1] == "basic-auth"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "canary" not in " ".join(command) + settings.mlflow_auth_file(PLACE, OURS)
    assert "default_permission = NO_PERMISSIONS" in settings.mlflow_auth_file(PLACE, OURS)


def test_the_runner() -> None:
    found = settings.runner(PLACE, SECRETS, OURS)
    assert found["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert found["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert found["MLFLOW_TRACKING_PASSWORD"] == "mlflow-canary"
    assert (found["QUERIST_HOST"], found["QUERIST_ROOT"]) == ("process", "/srv/runs")
    assert found["QUERIST_ALLOWED_PACKAGES"] == "mine"
    assert "QUERIST_PREFECT_AUTH" not in found
