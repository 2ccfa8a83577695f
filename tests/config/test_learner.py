from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from querist.config.learner import LearnerSettings, VersionSettings
from querist.config.load import explain
from querist.config.training import TrainingConfig

SUBSETS = {"train_subset": "train", "test_subset": "test"}


def refusal(value: Any, model: Any = VersionSettings) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return explain(caught.value, model)


def test_a_learner_by_its_name_alone() -> None:
    settings = LearnerSettings.model_validate({"learner": "sklearn"})
    assert (settings.learner.name, settings.learner.options, settings.seed) == ("sklearn", {}, 0)
    assert settings.training == TrainingConfig()


def test_a_learner_is_needed() -> None:
    assert refusal({}, LearnerSettings) == "learner: Field required"
    assert refusal({**SUBSETS}) == "learner: Field required"


@pytest.mark.parametrize("key", SUBSETS)
def test_a_version_says_what_it_was_trained_and_compared_on(key: str) -> None:
    given = {"learner": "sklearn", **SUBSETS}
    assert VersionSettings.model_validate(given).train_filter is None
    assert f"{key}: Field required" in refusal({k: v for k, v in given.items() if k != key})
    assert f"{key}: String should match pattern" in refusal({**given, key: "a/b"})


def test_a_key_that_is_unknown_is_named_with_its_neighbour() -> None:
    words = refusal({"learner": "sklearn", **SUBSETS, "train_filters": {"a": 1}})
    assert words.startswith("there is no key named 'train_filters': did you mean 'train_filter'")


@pytest.mark.parametrize("seed", [-1, 2**63, "x"])
def test_seeds(seed: Any) -> None:
    assert refusal({"learner": "sklearn", "seed": seed}, LearnerSettings).startswith("seed: ")


def test_settings_come_back_as_they_were_written() -> None:
    settings = VersionSettings.model_validate({
        "seed": 2**63 - 1, "learner": {"name": "sklearn", "options": {"estimator": "Ridge"}},
        "training": {"max_training_epochs": 3, "optimizer": {"name": "SGD", "options": {"lr": 1}}},
        **SUBSETS, "train_filter": {"site": {"$in": ["north", None]}},
    })  # fmt: skip
    assert VersionSettings.model_validate(settings.model_dump(mode="json")) == settings
    assert VersionSettings.model_validate_json(settings.model_dump_json()) == settings
