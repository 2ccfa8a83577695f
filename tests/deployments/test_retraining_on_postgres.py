"""Prefect, MLflow and the ledger on PostgreSQL: two weeks of the digits' retraining.

The weeks are those of `make retrain`: its example starts the servers and triggers the deployment
through Prefect's API.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.retraining import weeks
from querist.deployments.databases import MLFLOW_VARIABLE, PREFECT_VARIABLE
from querist.runs.open import LEDGER_VARIABLE
from tests.shared.postgres import Server, postgres

from ..conftest import CONFIGURES_PREFECT, environment

__all__ = ["postgres"]
MODEL = "digits"
CHECKS = ["accuracy", "log_loss"]
"""Those of examples/retraining/digits.yaml."""


@dataclass(frozen=True)
class Databases:
    """URLs of three empty databases."""

    prefect: str
    mlflow: str
    ledger: str


@contextmanager
def databases(server: Server) -> Iterator[Databases]:
    """Three databases, removed at the end."""
    made = [server.new_database() for _ in range(3)]
    try:
        yield Databases(*made)
    finally:
        for url in made:
            server.drop_database(url)


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment in which an operator starts `querist up`, in an empty folder."""
    for name in (*CONFIGURES_PREFECT, "MLFLOW_TRACKING_URI", "QUERIST_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.timeout(900)
def test_two_weeks(
    postgres: Server,
    operator: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("flask_wtf", reason="MLflow's basic auth needs Flask-WTF")
    root = tmp_path / "runs"
    with databases(postgres) as used:
        operator.setenv(PREFECT_VARIABLE, used.prefect)
        operator.setenv(MLFLOW_VARIABLE, used.mlflow)
        operator.setenv(LEDGER_VARIABLE, used.ledger)
        with weeks.servers(root, weeks.FILE) as (prefect, mlflow):
            first, second = weeks.week(prefect, 1), weeks.week(prefect, 2)
            aliases, versions = weeks.registry(mlflow, MODEL, 2)
            weeks.show_weeks([first, second])
            weeks.show_registry(mlflow, MODEL, 2)
        check_weeks(first, second)
        check_registry(aliases, versions, second)
        check_databases(postgres, used, second)
    assert not [*root.rglob("ledger.db"), *root.rglob("mlflow.db"), *root.rglob("prefect.db")]
    said = capfd.readouterr().out
    assert f"Prefect in PostgreSQL 127.0.0.1:{postgres.port}/" in said
    assert f"MLflow in PostgreSQL 127.0.0.1:{postgres.port}/" in said
    assert postgres.password not in said


def check_weeks(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Version 1 is promoted for want of a champion, version 2 by its verdict, or discarded."""
    assert (first["state"], first["name"]) == ("COMPLETED", "Promoted"), first
    assert "no champion" in first["message"]
    assert second["state"] == "COMPLETED", second
    assert second["name"] in ("Promoted", "Discarded"), second
    assert second["message"]
    rows = second["verdict"]
    assert [row["sub-comparison"] for row in rows] == CHECKS, rows
    for row in rows:
        numbers = [float(row[key]) for key in ("champion", "challenger", "gain")]
        assert all(map(math.isfinite, numbers)), row
        better = numbers[1] - numbers[0]
        sign = 1 if row["sub-comparison"] == "accuracy" else -1
        assert numbers[2] == pytest.approx(sign * better, abs=1e-9), row
    won = [row["outcome"] == "won" for row in rows]
    assert (second["name"] == "Promoted") is all(won), rows


def check_registry(
    aliases: dict[str, str], versions: list[dict[str, Any]], second: dict[str, Any]
) -> None:
    """Alias, lineage and reasons are what the flow runs have said."""
    promoted = second["name"] == "Promoted"
    assert aliases == {"2" if promoted else "1": "champion"}
    assert [one["version"] for one in versions] == ["1", "2"]
    old, new = map(weeks.tags_of, versions)
    assert old.get("parent", "") == ""
    assert new["parent"] == "1"
    assert new["data_fingerprint"] != old["data_fingerprint"]
    assert int(new["trained_on"]) > int(old["trained_on"])
    assert old["verdict"] == "promoted"
    assert "no champion" in old["reason"]
    assert new["verdict"] == second["name"].lower()
    assert new["reason"] == second["message"]


def check_databases(server: Server, used: Databases, second: dict[str, Any]) -> None:
    """What was read back is in PostgreSQL, in the three databases."""

    def rows(statement: str, url: str) -> list[tuple[object, ...]]:
        return server.run(statement, url.rpartition("/")[2])

    ends = "select state_name, count(*) from flow_run where parent_task_run_id is null group by 1"
    counts = {str(name): count for name, count in rows(ends, used.prefect)}
    assert sum(int(str(count)) for count in counts.values()) == 2, counts
    assert counts[second["name"]] == (2 if second["name"] == "Promoted" else 1)
    aliases = rows("select alias, version from registered_model_aliases", used.mlflow)
    champion = 2 if second["name"] == "Promoted" else 1
    assert aliases == [("champion", champion)]
    assert rows("select count(*) from model_versions", used.mlflow) == [(2,)]
    events = rows("select event, version, champion from promotions order by sequence", used.ledger)
    assert events == [("promoted", 1, 1), (second["name"].lower(), 2, champion)]
    named = rows("select distinct run_id from runs order by 1", used.ledger)
    assert named == [("digits",), ("digits-labels",)]
