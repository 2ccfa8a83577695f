"""What whoever triggers a served flow may not choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from querist.config.comparison import Comparison
from querist.config.load import build_experiment
from querist.config.parallel import build_parallel
from querist.errors import ConfigurationError
from querist.flows.served import as_served, comparison_as_served, parallel_as_served

MINIMAL: dict[str, Any] = {
    "name": "served",
    "data": {"pool": "digits", "initial": {"count": 10}},
    "learner": {"name": "sklearn", "options": {"estimator": "logistic_regression"}},
    "strategies": {"query": {"name": "margin", "n": 5}, "label": "oracle", "metrology": "f1"},
}


def experiment(**groups: Any) -> Any:
    return build_experiment(MINIMAL | groups)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUERIST_ROOT", str(tmp_path))
    return tmp_path


def test_without_an_operator_everything_is_the_users() -> None:
    wanted = experiment(driver={"root_log_dir": "/else"}, tracking={"uri": "sqlite:///x.db"})
    assert as_served(wanted) is wanted


def test_runs_are_in_the_operators_folder(root: Path) -> None:
    assert as_served(experiment()).driver.root_log_dir == root
    inside = as_served(experiment(driver={"root_log_dir": "team/a"}))
    assert inside.driver.root_log_dir == root / "team" / "a"


@pytest.mark.parametrize("wanted", ["/etc", "..", "a/../../b", "link"])
def test_and_nowhere_else(wanted: str, root: Path) -> None:
    (root / "link").symlink_to("/")
    with pytest.raises(ConfigurationError, match="inside the operator's"):
        as_served(experiment(driver={"root_log_dir": wanted}))


def test_the_tracker_is_the_operators(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="the operator's to set"):
        as_served(experiment(tracking={"uri": "http://collects.passwords"}))


def test_parallel_learners_are_served_by_the_same_rules(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = [{}, {"name": "spy", "tracking": {"uri": "http://collects.passwords"}}]
    wanted = build_parallel({**MINIMAL, "learners": learners}, "x")
    served = parallel_as_served(wanted)
    assert served.base.driver.root_log_dir == root
    with pytest.raises(ConfigurationError, match="the operator's to set"):
        as_served(served.experiment("spy", "p"))
    away = build_parallel(
        {**MINIMAL, "learners": [{}], "parallel": {"where": "deployment", "address": "a/b"}}, "x"
    )
    cluster = build_parallel({**MINIMAL, "learners": [{}], "parallel": {"where": "ray"}}, "x")
    with pytest.raises(ConfigurationError, match="would open a cluster"):
        parallel_as_served(cluster)
    with pytest.raises(ConfigurationError, match=r"parallel\.address is the operator's"):
        parallel_as_served(away)
    monkeypatch.delenv("QUERIST_ROOT")
    assert parallel_as_served(away).parallel.address == "a/b"


def test_comparisons_are_served_by_the_same_rules(root: Path) -> None:
    def comparison(**groups: Any) -> Comparison:
        base = experiment(**groups)
        variants = {"a": {}, "spy": {"tracking": {"uri": "http://collects.passwords"}}}
        return Comparison(name="c", base=base, seeds=(1,), variants=variants)

    served = comparison_as_served(comparison())
    assert served.base.driver.root_log_dir == root
    assert as_served(served.experiment("a", 1)).driver.root_log_dir == root
    with pytest.raises(ConfigurationError, match="the operator's to set"):
        as_served(served.experiment("spy", 1))
    with pytest.raises(ConfigurationError, match="inside the operator's"):
        comparison_as_served(comparison(driver={"root_log_dir": "/else"}))
