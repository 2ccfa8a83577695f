"""Settings of a registered model, and the relations between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.config.load import merge
from querist.config.retraining import Retraining, build_retraining, is_retraining
from querist.errors import ConfigurationError, UnknownNameError

from .conftest import BASE

FILE = Path("blobs.yaml")
SMALLEST: dict[str, Any] = {"model": "blobs", "data": {"source": "pool"}}


def built(**changes: Any) -> Retraining:
    return build_retraining(merge(SMALLEST, changes), FILE)


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        built(**changes)
    words = str(caught.value)
    assert words.startswith("blobs.yaml: ")
    assert "\n" not in words
    return words.removeprefix("blobs.yaml: ")


def test_what_is_left_out() -> None:
    settings = built()
    assert (settings.base.start, settings.busy, settings.when.new_labels) == ("champion", "wait", 1)
    assert (settings.data.train_subset, settings.data.test_subset) == ("train", "test")
    assert settings.learner is None
    assert settings.collect is None
    assert settings.when.drift is None
    assert settings.metrology == ()


def test_what_a_file_is_about() -> None:
    assert is_retraining(SMALLEST)
    assert not is_retraining(BASE)


@pytest.mark.parametrize("one", ["accuracy", {"name": "accuracy"}])
def test_one_metrology_is_a_list_of_one(one: Any) -> None:
    [component] = built(metrology=one).metrology
    assert (component.name, component.options) == ("accuracy", {})


def test_settings_come_back_as_they_were_written() -> None:
    settings = built(
        data={"split": {"subsets": {"train": 0.7, "test": 0.3}}, "train_filter": {"a": 1}},
        base={"start": "run", "run_id": "labels"}, metrology=["accuracy", "log_loss"],
        compare={"checks": [{"metric": "accuracy"}], "wins": "all"},
        when={"new_labels": 5, "drift": {"features": 0.3}},
        collect={"run_id": "labels", "experiment": BASE},
    )  # fmt: skip
    assert Retraining.model_validate(settings.model_dump(mode="json")) == settings
    written = json.dumps(settings.model_dump(mode="json", exclude_unset=True))
    assert Retraining.model_validate_json(written) == settings


# Subsets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["train_subset", "test_subset"])
def test_subsets_are_those_of_the_split(key: str) -> None:
    words = f"data: {key} is one of the split's subsets, train, validation, test, not 'holdout'"
    assert refusal(data={key: "holdout"}).startswith(words)
    shares = {"train": 0.6, "test": 0.2, "holdout": 0.2}
    assert getattr(built(data={key: "holdout", "split": {"subsets": shares}}).data, key)


def test_a_model_is_never_tested_on_what_it_was_trained_on() -> None:
    words = refusal(data={"train_subset": "test"})
    assert "tested on what it was trained on: train_subset and test_subset are both 'test'" in words


def test_shares_are_checked_where_they_stand() -> None:
    words = refusal(data={"split": {"subsets": {"train": 0.5, "test": 0.1}}})
    assert words == "data.split: the shares of the subsets sum to 1, not 0.5 + 0.1 = 0.6"


# Filters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["train_filter", "test_filter"])
@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"age": {"$gt": 1, "$near": 2}}, "$near"), ({"$or": 3}, "$or"), ({}, "at least 1 item"),
     ({"a": {"$in": 3}}, "$in"), ("site == north", "dictionary")],
)  # fmt: skip
def test_filters_are_checked_when_they_are_read(key: str, wanted: Any, words: str) -> None:
    found = refusal(data={key: wanted})
    assert found.startswith(f"data.{key}: ")
    assert words in found


def test_filters_stay_as_they_were_given() -> None:
    wanted = {"$or": [{"site": "north"}, {"age": {"$gte": 18}}]}
    assert built(data={"test_filter": wanted}).data.test_filter == wanted


# Where a version starts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({"start": "version"}, "base.start 'version' needs base.version"),
        ({"start": "run"}, "base.start 'run' needs base.run_id"),
        ({"version": 3}, "base.start 'champion' has no base.version"),
        ({"start": "scratch", "run_id": "labels"}, "base.start 'scratch' has no base.run_id"),
        ({"start": "version", "version": 1, "run_id": "x"}, "base.start 'version' has no base.run"),
        ({"start": "version", "version": 0}, "base.version: Input should be greater than or equal"),
        ({"start": "run", "run_id": "../x"}, "base.run_id: "),
        ({"start": "best"}, "base.start: Input should be 'champion', 'version', 'run' or"),
    ],
)
def test_a_base_is_named_where_it_counts(base: dict[str, Any], words: str) -> None:
    assert words in refusal(base=base)


@pytest.mark.parametrize(
    "base",
    [{"start": "champion"}, {"start": "scratch"}, {"start": "version", "version": 3},
     {"start": "run", "run_id": "labels"}],
)  # fmt: skip
def test_bases(base: dict[str, Any]) -> None:
    assert built(base=base).base.model_dump(exclude_unset=True) == base


# When ---------------------------------------------------------------------------------------------


def test_drift_looks_at_something() -> None:
    words = "when.drift: drift looks at features, confidence, or both: set a threshold"
    assert refusal(when={"drift": {"min_items": 10}}) == words


@pytest.mark.parametrize(
    ("when", "place"),
    [({"new_labels": -1}, "when.new_labels"), ({"drift": {"features": 0}}, "when.drift.features"),
     ({"drift": {"confidence": 1.5}}, "when.drift.confidence"),
     ({"drift": {"features": 0.1, "significance": 1}}, "when.drift.significance"),
     ({"drift": {"features": 0.1, "min_items": 1}}, "when.drift.min_items")],
)  # fmt: skip
def test_thresholds_have_their_range(when: dict[str, Any], place: str) -> None:
    assert refusal(when=when).startswith(f"{place}: Input should be ")


# Names and keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden"])
def test_a_models_name_is_a_folders_name(name: str) -> None:
    assert refusal(model=name).startswith("model: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lerner": "sklearn"}, "there is no key named 'lerner': did you mean 'learner'?"),
        ({"data": {"sourse": 1}}, "data.sourse: there is no key named 'sourse': did you mean 'so"),
        ({"when": {"drift": {"feature": 0.1}}}, "when.drift.feature: there is no key named"),
        ({"collect": {"iteration": 1}}, "collect.iteration: there is no key named 'iteration': di"),
    ],
)
def test_keys_that_are_unknown(changes: dict[str, Any], words: str) -> None:
    assert refusal(**changes).startswith(words)


def test_what_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="blobs.yaml: data: Field required"):
        build_retraining({"model": "blobs"}, FILE)
    with pytest.raises(ConfigurationError, match="blobs.yaml: data.source: Field required"):
        build_retraining({"model": "blobs", "data": {}}, FILE)


# Labels that are asked for -----------------------------------------------------------------------


def test_the_experiment_may_be_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "labels.yaml").write_text(yaml.safe_dump(BASE))
    collect = {"run_id": "labels", "iterations": 2, "experiment": "below/labels.yaml"}
    content = {**SMALLEST, "collect": collect}
    found = build_retraining(content, tmp_path / "blobs.yaml")
    assert found == built(collect={**collect, "experiment": BASE})
    assert content["collect"] == collect, "what was read is not changed"


def test_an_experiment_that_is_not_there(tmp_path: Path) -> None:
    content = {**SMALLEST, "collect": {"run_id": "labels", "experiment": "nothing.yaml"}}
    with pytest.raises(ConfigurationError, match="nothing.yaml"):
        build_retraining(content, tmp_path / "blobs.yaml")


def test_an_experiment_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(yaml.safe_dump({**BASE, "sed": 3}))
    content = {**SMALLEST, "collect": {"run_id": "labels", "experiment": "labels.yaml"}}
    words = r"blobs.yaml: collect.experiment: there is no key named 'sed': did you mean 'seed'"
    with pytest.raises((ConfigurationError, UnknownNameError), match=words):
        build_retraining(content, tmp_path / "blobs.yaml")


def test_an_experiment_that_is_wrong_inside() -> None:
    words = refusal(collect={"run_id": "labels", "experiment": {**BASE, "sed": 3}})
    assert words.startswith("collect.experiment.sed: there is no key named 'sed': did you mean 'se")


def test_registered_models_learn_no_labels() -> None:
    words = refusal(training={"loss": "multilabel"})
    assert "a registered model learns classes or numbers, and training.loss is multilabel" in words
