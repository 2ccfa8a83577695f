"""What the servers and the runner of `querist up` find in their environments.

Pure functions: everything that keeps strangers out is written here, in one place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from querist.deployments import databases
from querist.deployments.credentials import MLFLOW_USER, VARIABLES, Credentials
from querist.deployments.databases import databases_of
from querist.deployments.embedded_server import SHARED_SETTINGS
from querist.errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost")
HEARTBEAT_SETTING = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""The automation that finds dead flow runs waits for 90 s; Prefect's default is a beat in 180 s."""


@dataclass(frozen=True)
class Place:
    """Where the servers are.

    Attributes:
        root: the folder of the runs.
        host: the address that the servers listen on.
        prefect_port: the Prefect server's.
        mlflow_port: the MLflow server's.
    """

    root: Path
    host: str
    prefect_port: int
    mlflow_port: int

    @property
    def service(self) -> Path:
        """The folder of databases, logs and credentials; only its owner may enter it."""
        return self.root / "service"

    @property
    def prefect_url(self) -> str:
        """The Prefect UI; its origin too."""
        return f"http://{self.host}:{self.prefect_port}"

    @property
    def mlflow_url(self) -> str:
        """The MLflow UI; its origin too."""
        return f"http://{self.host}:{self.mlflow_port}"


def check_host(host: str, *, exposed: bool, environment: Mapping[str, str]) -> None:
    """Refuse to listen where others can reach us, unless the operator means it.

    Args:
        host: the address to listen on.
        exposed: the operator has said so.
        environment: credentials that the operator has chosen.

    Raises:
        ConfigurationError: `host` is not loopback, and something of that is missing.
    """
    if host in LOOPBACK:
        return
    if not exposed:
        raise ConfigurationError(
            f"--host {host} lets other machines reach the servers: leave it out, or add "
            "--allow-other-machines and put a proxy with TLS before them"
        )
    needed = [VARIABLES["prefect_auth"], VARIABLES["mlflow_password"]]
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigurationError(
            f"--host {host} needs credentials of your own choice: set {' and '.join(missing)}"
        )


def common(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without what only `querist up` itself may know, and with our import path."""
    path = [entry or os.getcwd() for entry in sys.path]
    hidden = {*VARIABLES.values(), *databases.VARIABLES}
    return {
        **{k: v for k, v in environment.items() if k not in hidden},
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in path if os.path.isdir(p))),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
    }


def prefect_server(
    place: Place, credentials: Credentials, environment: Mapping[str, str]
) -> dict[str, str]:
    """The Prefect server's environment."""
    home = place.service / "prefect"
    ours = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    return {
        **common(environment),
        **SHARED_SETTINGS,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_DATABASE_CONNECTION_URL": databases_of(environment).prefect or ours,
        "PREFECT_SERVER_API_AUTH_STRING": credentials.prefect_auth,
        "PREFECT_API_AUTH_STRING": credentials.prefect_auth,  # its services call its API
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": place.prefect_url,
        "PREFECT_API_URL": f"{place.prefect_url}/api",
        "PREFECT_UI_API_URL": f"{place.prefect_url}/api",
        "PREFECT_UI_ENABLED": "true",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }


def mlflow_server(
    place: Place, credentials: Credentials, environment: Mapping[str, str]
) -> dict[str, str]:
    """The MLflow server's environment."""
    return {
        **{k: v for k, v in common(environment).items() if not k.startswith("MLFLOW_TRACKING_")},
        # Here and not on the command line, for it may have a password.
        "MLFLOW_BACKEND_STORE_URI": databases_of(environment).mlflow
        or f"sqlite:///{place.root / 'mlflow.db'}",
        "MLFLOW_AUTH_CONFIG_PATH": str(place.service / "mlflow_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": MLFLOW_USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": credentials.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": credentials.mlflow_secret_key,
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
        "MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH": "true",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def mlflow_command(place: Place) -> list[str]:
    """The MLflow server's command line, on which there are no secrets."""
    return [
        sys.executable, "-m", "mlflow", "server",
        "--host", place.host, "--port", str(place.mlflow_port), "--workers", "1",
        "--app-name", "basic-auth",
        "--artifacts-destination", str(place.root / "mlartifacts"),
        "--allowed-hosts", f"{place.host}:{place.mlflow_port},localhost:{place.mlflow_port}",
        "--cors-allowed-origins", place.mlflow_url,
    ]  # fmt: skip


def mlflow_auth_file(place: Place, environment: Mapping[str, str]) -> str:
    """The settings of MLflow's basic auth; its users' passwords are not among them.

    That of its database is, where it is PostgreSQL: for the owner's eyes only.
    """
    url = databases_of(environment).mlflow or f"sqlite:///{place.service / 'mlflow_users.db'}"
    escaped = url.replace("%", "%%")  # MLflow's reader would take it for a variable
    return (
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = {escaped}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "grant_default_workspace_access = false\n"
    )


def runner(
    place: Place, credentials: Credentials, environment: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the runner, and of the flow runs that it starts."""
    home = place.service / "prefect"
    return {
        **common(environment),
        **HEARTBEAT_SETTING,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"{place.prefect_url}/api",
        "PREFECT_API_AUTH_STRING": credentials.prefect_auth,
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "querist",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_TRACKING_URI": place.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": MLFLOW_USER,
        "MLFLOW_TRACKING_PASSWORD": credentials.mlflow_password,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "QUERIST_HOST": "process",
        "QUERIST_ROOT": str(place.root),
    }
