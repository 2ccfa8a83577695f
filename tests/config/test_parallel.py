"""Parallel learners as a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from querist.config.parallel import ParallelExperiment, Quorum, build_parallel, is_parallel
from querist.errors import ConfigurationError

BASE: dict[str, Any] = {
    "name": "several",
    "seed": 3,
    "data": {"pool": "digits", "initial": {"count": 10}},
    "learner": {"name": "sklearn", "options": {"estimator": "logistic_regression"}},
    "strategies": {"query": {"name": "margin", "n": 5}, "label": "oracle", "metrology": "f1"},
}


def several(*learners: Any, **parallel: Any) -> ParallelExperiment:
    return build_parallel({**BASE, "learners": list(learners), "parallel": parallel}, "x.yaml")


def test_a_file_about_learners_is_known_by_its_keys() -> None:
    assert is_parallel({"learners": []})
    assert is_parallel({"parallel": {}})
    assert not is_parallel(BASE)


def test_an_entry_changes_the_base_and_an_empty_one_is_the_base() -> None:
    made = several({}, {"name": "wide", "strategies": {"batch": 7}}, None)
    assert [learner.name for learner in made.learners] == ["learner_0", "wide", "learner_2"]
    first, wide = (made.experiment(name, "p") for name in ("learner_0", "wide"))
    assert first.strategies.batch is None
    assert wide.strategies.batch == 7
    assert wide.strategies.query == first.strategies.query
    assert wide.driver.parent == "p"
    assert (first.name, wide.name) == ("several · learner_0", "several · wide")
    assert made.run_id("wide", "p") == "p-wide"


def test_learners_see_the_same_data_and_draw_numbers_of_their_own() -> None:
    made = several({}, {}, {"seed": 9}, {"data": {"seed": 5}})
    found = [made.experiment(learner.name, "p") for learner in made.learners]
    assert [one.data_seed for one in found] == [3, 3, 3, 5]
    assert len({one.seed for one in found}) == 4
    assert found[2].seed == 9
    again = several({}, {}, {"seed": 9}, {"data": {"seed": 5}})
    assert [again.experiment(one.name, "p").seed for one in again.learners] == [
        one.seed for one in found
    ]


def test_what_is_written_down_is_read_back() -> None:
    made = several({}, {"name": "b", "seed": 4}, on_failure={"quorum": 1}, max_parallel=1)
    assert ParallelExperiment.model_validate(made.model_dump(mode="json")) == made
    assert made.parallel.on_failure == Quorum(quorum=1)


@pytest.mark.parametrize(
    ("learners", "parallel", "message"),
    [
        ("x", {}, "`learners` is a list of what each learner changes"),
        ([], {}, "learners"),
        ([{"name": "a"}, {"name": "a"}], {}, "two learners are called 'a'"),
        ([{"name": "a-b"}], {}, "letters, digits and '_'"),
        ([{"nam": "a"}], {}, "nam"),
        ([{"training": {"epochs": 3}}], {}, "epochs"),
        ([{"driver": {"run_id": "x"}}], {}, r"cannot set driver\.run_id"),
        ([{"driver": {"parent": "x"}}], {}, r"cannot set driver\.parent"),
        ([{}], {"on_failure": {"quorum": 2}}, "a quorum of 2 is more than the 1 learners"),
        ([{}], {"on_failure": "ignore"}, "on_failure"),
        ([{}], {"where": "cloud"}, "where"),
        ([{}], {"max_parallel": 0}, "max_parallel"),
        ([{}], {"where": "threads", "resources": {"gpus": 1}}, "threads share this process's GPUs"),
        ([{}], {"where": "deployment", "resources": {"gpus": 1}}, "the work pool says what"),
        ([{}], {"address": "tcp://x"}, "has no effect with parallel.where 'processes'"),
        ([{}], {"where": "ray", "step_seconds": 3}, "step_seconds has no effect"),
        ([{}], {"selector": {"metric": "joy"}}, "set direction to max or min"),
    ],
)
def test_what_makes_no_sense_is_refused(learners: Any, parallel: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_parallel({**BASE, "learners": learners, "parallel": parallel}, "x.yaml")


def test_ids_of_learners_fit_into_a_folders_name() -> None:
    several({"name": "a"}).check_id("x" * 62)
    with pytest.raises(ConfigurationError, match="1 to 64 letters"):
        several({"name": "abc"}).check_id("x" * 62)


def test_cores_for_each_learner_are_its_threads() -> None:
    made = several({}, {"name": "own", "training": {"threads": 1}}, resources={"cpus": 3})
    assert made.experiment("learner_0", "p").training.threads == 3
    assert made.experiment("own", "p").training.threads == 1
    assert several({}).experiment("learner_0", "p").training.threads == "auto"
