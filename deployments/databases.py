"""The PostgreSQL databases of the servers of `querist up`; without them each has SQLite files.

Their passwords go to the servers by the environment and by a file that only its owner can read,
never by a command line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from querist.errors import ConfigurationError

PREFECT_VARIABLE = "QUERIST_PREFECT_DATABASE_URL"
MLFLOW_VARIABLE = "QUERIST_MLFLOW_DATABASE_URL"
VARIABLES = (PREFECT_VARIABLE, MLFLOW_VARIABLE)
_DRIVERS = {PREFECT_VARIABLE: "asyncpg", MLFLOW_VARIABLE: "psycopg"}
"""Prefect can do with no other; of MLflow's, we have the one that the ledger has too."""


@dataclass(frozen=True)
class Databases:
    """Where the servers keep what they know.

    Attributes:
        prefect: the Prefect server's URL, for its driver; None for SQLite.
        mlflow: the MLflow server's, with its users; None for SQLite.
        shown: both in words, without passwords.
    """

    prefect: str | None = field(default=None, repr=False)
    mlflow: str | None = field(default=None, repr=False)
    shown: str = "SQLite"


def databases_of(environment: Mapping[str, str]) -> Databases:
    """The databases that the operator has set.

    Raises:
        ConfigurationError: one that is no PostgreSQL database, both the same, or no driver.
    """
    urls = {name: _url(name, environment.get(name)) for name in VARIABLES}
    prefect, mlflow = urls[PREFECT_VARIABLE], urls[MLFLOW_VARIABLE]
    if prefect is not None and mlflow is not None and _place(prefect) == _place(mlflow):
        raise ConfigurationError(
            f"Prefect and MLflow each need a database of their own, {PREFECT_VARIABLE} and "
            f"{MLFLOW_VARIABLE} name the same: make another one"
        )
    shown = f"Prefect in {_shown(prefect)}, MLflow in {_shown(mlflow)}"
    if prefect is None and mlflow is None:
        shown = Databases.shown
    return Databases(
        prefect=None if prefect is None else prefect.render_as_string(hide_password=False),
        mlflow=None if mlflow is None else mlflow.render_as_string(hide_password=False),
        shown=shown,
    )


def _url(variable: str, given: str | None) -> URL | None:
    """A variable's URL with the driver that its server needs."""
    if not given:
        return None
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # without the cause, which may hold a piece of the password
        url = None
    if url is None or url.get_backend_name() != "postgresql" or not url.database:
        raise ConfigurationError(
            f"{variable} has the form postgresql://USER:PASSWORD@HOST/DATABASE: what is set has not"
        ) from None
    driver = _DRIVERS[variable]
    if importlib.util.find_spec(driver) is None:
        raise ConfigurationError(f"{variable} needs {driver}: `pip install 'querist[postgres]'`")
    return url.set(drivername=f"postgresql+{driver}")


def _place(url: URL) -> tuple[str | None, int, str | None]:
    return url.host, url.port or 5432, url.database


def _shown(url: URL | None) -> str:
    if url is None:
        return "SQLite"
    host, port, database = _place(url)
    return f"PostgreSQL {host or 'localhost'}:{port}/{database}"
