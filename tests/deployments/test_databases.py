"""`querist up` on PostgreSQL."""

from __future__ import annotations

import configparser
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from querist.deployments import settings
from querist.deployments.databases import MLFLOW_VARIABLE, PREFECT_VARIABLE, databases_of
from querist.deployments.settings import Place
from querist.errors import ConfigurationError
from tests.shared.postgres import Server, postgres

from ..conftest import Cli, environment
from .test_serve import LABELS, RETRAINING
from .test_settings import SECRETS
from .test_up_serve import up_with

__all__ = ["postgres"]
PLACE = Place(Path("/srv/runs"), "127.0.0.1", 4200, 5000)
SET = {
    PREFECT_VARIABLE: "postgresql://me:pass%40word@db/prefect",
    MLFLOW_VARIABLE: "postgresql://me:pass%40word@db:5433/mlflow",
}


def test_each_server_gets_its_driver_and_nobody_else_the_url() -> None:
    found = databases_of(SET)
    assert found.prefect == "postgresql+asyncpg://me:pass%40word@db/prefect"
    assert found.mlflow == "postgresql+psycopg://me:pass%40word@db:5433/mlflow"
    assert found.shown == (
        "Prefect in PostgreSQL db:5432/prefect, MLflow in PostgreSQL db:5433/mlflow"
    )
    assert "pass" not in repr(found)
    prefect = settings.prefect_server(PLACE, SECRETS, SET)
    assert prefect["PREFECT_API_DATABASE_CONNECTION_URL"] == found.prefect
    mlflow = settings.mlflow_server(PLACE, SECRETS, SET)
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == found.mlflow
    assert "pass%40word" not in " ".join(settings.mlflow_command(PLACE))
    for its, theirs in ((prefect, found.mlflow), (mlflow, found.prefect)):
        assert theirs not in its.values()
    runner = settings.runner(PLACE, SECRETS, SET)
    assert not any("pass%40word" in value for value in runner.values())


def test_mlflow_reads_its_users_database_as_it_is() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(settings.mlflow_auth_file(PLACE, SET))
    assert parser["mlflow"]["database_uri"] == databases_of(SET).mlflow


def test_without_them_it_is_sqlite() -> None:
    assert databases_of({}).shown == "SQLite"
    assert databases_of({PREFECT_VARIABLE: "", MLFLOW_VARIABLE: ""}).mlflow is None


@pytest.mark.parametrize("url", ["sqlite:///secret.db", "secret", "postgresql://me:secret@db"])
def test_what_is_no_postgresql_database(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{MLFLOW_VARIABLE} has the form") as error:
        databases_of({MLFLOW_VARIABLE: url})
    assert "secret" not in str(error.value)


def test_one_database_for_both() -> None:
    with pytest.raises(ConfigurationError, match="each need a database of their own"):
        databases_of({
            PREFECT_VARIABLE: "postgresql://a:b@db/both",
            MLFLOW_VARIABLE: "postgresql+psycopg://c:d@db:5432/both",
        })  # fmt: skip


@pytest.mark.timeout(400)
def test_both_servers_on_postgresql(postgres: Server, tmp_path: Path) -> None:
    prefect, mlflow = postgres.new_database(), postgres.new_database()
    cli = Cli(tmp_path, environment(PREFECT_HOME=str(tmp_path / "home")))
    (tmp_path / "labels.yaml").write_text(LABELS.read_text())
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(RETRAINING))
    lines: list[str] = []

    def look() -> None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                lines.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    try:
        code, found, said = up_with(
            cli, "--serve", "digits.yaml", meanwhile=look,
            **{PREFECT_VARIABLE: prefect, MLFLOW_VARIABLE: mlflow},
        )  # fmt: skip
        assert code == 0
        assert found["name"] == "digits"
        name = mlflow.rpartition("/")[2]
        assert f"MLflow in PostgreSQL 127.0.0.1:{postgres.port}/{name}" in said
        assert postgres.run("select username from users", name) == [("querist",)]
        assert postgres.run("select name from experiments", name) == [("Default",)]
        (count,) = postgres.run("select count(*) from deployment", prefect.rpartition("/")[2])[0]
        assert count == 7
        assert any("mlflow server" in line for line in lines)
        assert not any(postgres.password in line for line in lines)
        assert not (cli.root / "mlflow.db").exists()
        auth = cli.root / "service" / "mlflow_auth.ini"
        assert auth.stat().st_mode & 0o077 == 0
        assert postgres.password not in said
    finally:
        postgres.drop_database(prefect)
        postgres.drop_database(mlflow)
