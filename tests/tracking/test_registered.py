"""A logged model as the one that an alias points to, in a real MLflow store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from querist.tracking.registered import point_alias_to


@pytest.fixture
def client(tmp_path: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def logged(client: Any, tmp_path: Path) -> Any:
    experiment = client.get_experiment_by_name("x")
    where = None if experiment is None else experiment.experiment_id
    where = where or client.create_experiment("x", artifact_location=tmp_path.as_uri())
    run = client.create_run(where)
    model = client.create_logged_model(where, name="model", source_run_id=run.info.run_id)
    return client.finalize_logged_model(model.model_id, "READY")


def test_again_changes_nothing_and_another_model_takes_the_alias(
    client: Any, tmp_path: Path
) -> None:
    first, second = logged(client, tmp_path), logged(client, tmp_path)
    name = "moons of several"

    def point(model: Any) -> str:
        run = model.source_run_id
        return point_alias_to(client, model, name=name, alias="challenger", run_id=run)

    assert [point(first), point(first), point(second), point(first)] == ["1", "1", "2", "1"]
    assert len(client.search_model_versions(f"name = '{name}'")) == 2
    found = client.get_model_version_by_alias(name, "challenger")
    assert (str(found.version), found.run_id) == ("1", first.source_run_id)
