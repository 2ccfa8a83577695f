"""A logged model as the one that an alias points to, in a real MLflow store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from querist.tracking.registered import point_alias_to, register_version
from querist.tracking.spool import UndeliverableError


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


class Killed(BaseException):
    pass


class Fragile:
    """A client whose process is killed at its n-th call, before or after the store has done it."""

    def __init__(self, client: Any, calls: int, *, after: bool) -> None:
        self.client, self.left, self.after = client, calls, after

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left < 0 and not self.after:
                raise Killed
            answer = getattr(self.client, name)(*args, **more)
            if self.left < 0:
                raise Killed
            return answer

        return call


@pytest.mark.parametrize("after", [False, True])
def test_a_version_is_there_once_wherever_its_deliverer_was_killed(
    client: Any, tmp_path: Path, after: bool
) -> None:
    model = logged(client, tmp_path)

    def register(through: Any, name: str) -> str:
        return register_version(
            through, model, name=name, version=4, tags={"why": "x", "none": None}, ledger="mine",
            run_id=model.source_run_id, spool_id="s",
        )  # fmt: skip

    for calls in range(20):
        name = f"moons {calls}"
        try:
            register(Fragile(client, calls, after=after), name)
        except Killed:
            assert register(client, name) == register(client, name) == "1"
        else:
            break
        (version,) = client.search_model_versions(f"name = '{name}'")
        assert version.tags == {
            "querist.model_id": model.model_id, "querist.version": "4", "querist.spool": "s",
            "querist.ledger": "mine", "why": "x",
        }  # fmt: skip
    assert 4 < calls < 19


def test_what_a_lost_answer_left_twice_is_removed(client: Any, tmp_path: Path) -> None:
    model = logged(client, tmp_path)
    more = {"run_id": model.source_run_id, "model_id": model.model_id}
    tags = {"querist.version": "1", "querist.spool": "s"}
    client.create_registered_model("moons")
    for _ in range(3):
        client.create_model_version("moons", model.artifact_location, tags=tags, **more)
    client.set_registered_model_alias("moons", "mine", "3")
    made = register_version(
        client, model, name="moons", version=1, tags={}, run_id=model.source_run_id, spool_id="s"
    )
    assert made == "1"
    left = client.search_model_versions("name = 'moons'")
    assert sorted(str(version.version) for version in left) == ["1", "3"]


def test_a_challenger_of_a_parallel_run_may_become_a_version(client: Any, tmp_path: Path) -> None:
    model = logged(client, tmp_path)
    run = model.source_run_id
    point_alias_to(client, model, name="moons", alias="challenger", run_id=run)
    register_version(
        client, model, name="moons", version=7, tags={}, run_id=run, spool_id="s"
    )
    (version,) = client.search_model_versions("name = 'moons'")
    assert version.tags["querist.version"] == "7"


@pytest.mark.parametrize(
    "name", ["a/b", "a:b", "it's", '"x"', "`x`", "  ", ".", "..x", "", "x" * 251]
)
def test_names_that_mlflow_does_not_take(client: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(UndeliverableError, match="without slashes, colons and quotes"):
        point_alias_to(client, logged(client, tmp_path), name=name, alias="x", run_id="r")
