"""A real MLflow store in SQLite for each test; its tables are made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from querist.tracking.spool import TrackingSpool

Start = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(uri)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "cafe0001"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def spool(folder: Path) -> TrackingSpool:
    return TrackingSpool(folder)


@pytest.fixture
def start(tmp_path: Path, uri: str) -> Start:
    def make(**changes: Any) -> dict[str, Any]:
        return {
            "uri": uri,
            "artifact_root": str(tmp_path / "artifacts"),
            "experiment": "two-moons",
            "run_name": "two-moons cafe0001",
            "params": {"seed": 7, "training.lr": 0.01},
            "tags": {"querist.run_id": "cafe0001"},
            "dataset": {
                "name": "moons", "digest": "ab" * 32, "size": 1000, "classes": 2, "features": [2],
            },
        } | changes  # fmt: skip

    return make
