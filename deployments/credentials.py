"""The credentials of the servers that `querist up` starts.

Each comes from the environment, or is made once and kept in a file that only its owner can read.
They go to processes by their environment, never by a command line, and are never logged.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from querist.errors import ConfigurationError
from querist.storage.atomic import storage_errors

VARIABLES = {
    "prefect_auth": "QUERIST_PREFECT_AUTH",
    "mlflow_password": "QUERIST_MLFLOW_PASSWORD",
    "mlflow_secret_key": "QUERIST_MLFLOW_SECRET_KEY",
}
MLFLOW_USER = "querist"
SHORTEST = 12
"""MLflow's own rule for passwords, and ours for all."""


@dataclass(frozen=True)
class Credentials:
    """What the servers ask for.

    Attributes:
        prefect_auth: `user:password` of the Prefect API and UI.
        mlflow_password: the password of MLflow's administrator, whose name is `querist`.
        mlflow_secret_key: what MLflow signs its forms with.
    """

    prefect_auth: str = field(repr=False)
    mlflow_password: str = field(repr=False)
    mlflow_secret_key: str = field(repr=False)


def load_credentials(file: Path, environment: Mapping[str, str]) -> Credentials:
    """Those of the environment, else those of the file, else new ones, which the file then has.

    Raises:
        ConfigurationError: one is too short, or others can read the file.
    """
    kept = _read(file)
    found, made = {}, dict(kept)
    for name, variable in VARIABLES.items():
        given = environment.get(variable)
        if given is not None:
            found[name] = _checked(variable, given)
            continue
        if name not in made:
            made[name] = _new(name)
        found[name] = made[name]
    if made != kept:
        _write(file, made)
    return Credentials(**found)


def _checked(variable: str, given: str) -> str:
    if len(given) < SHORTEST:
        raise ConfigurationError(
            f"{variable} has at least {SHORTEST} characters, not {len(given)}: choose a longer one"
        )
    if variable == VARIABLES["prefect_auth"] and ":" not in given:
        raise ConfigurationError(f"{variable} has the form user:password: put a colon between them")
    return given


def _new(name: str) -> str:
    random = secrets.token_urlsafe(24)
    return f"querist:{random}" if name == "prefect_auth" else random


def _read(file: Path) -> dict[str, str]:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    with open(descriptor, encoding="utf-8") as opened:
        if os.fstat(descriptor).st_mode & 0o077:
            raise ConfigurationError(
                f"{file} holds credentials, and others can read it: `chmod 600` it and delete it "
                "if they were not to know them"
            )
        try:
            content = json.load(opened)
            return {f.name: str(content[f.name]) for f in fields(Credentials) if f.name in content}
        except (ValueError, TypeError):
            raise ConfigurationError(f"{file} is damaged: delete it") from None


def _write(file: Path, content: Mapping[str, str]) -> None:
    beside = file.with_name(f".{file.name}.tmp")
    with storage_errors(file):
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as opened:
            json.dump(content, opened, indent=1)
            opened.flush()
            os.fsync(descriptor)
        beside.replace(file)
