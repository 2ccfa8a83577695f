"""A learner out of a settings file and a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from querist.config.load import build_experiment
from querist.errors import CheckpointError, ConfigurationError
from querist.learners.build import build_learner
from querist.learners.restore import read_settings, restore_learner
from querist.protocols import Learner
from querist.runs.checkpoints import Checkpoints

LEARNER = {"name": "examples.two_moons.model:MoonClassifier", "options": {"hidden": 3}}
EXPERIMENT: dict[str, Any] = {
    "name": "x",
    "seed": 5,
    "data": {"pool": "digits"},
    "learner": LEARNER,
    "training": {"device": "cuda:3", "batch_size": 9},
    "strategies": {"query": "margin", "label": "oracle", "metrology": "f1"},
}
FEATURES = torch.linspace(-1, 1, 8).reshape(4, 2)


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "examples")


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Learner, Path]:
    here = {**EXPERIMENT, "training": {"device": "cpu"}}
    learner = build_learner(build_experiment(here), classes=2, sample=FEATURES[:1])
    about = {"classes": 2, "features": [2], "features_dtype": "float32"}
    Checkpoints(tmp_path / "checkpoints").save(4, learner.state_files(), about)
    return learner, tmp_path / "checkpoints" / "step_0004"


def written(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        EXPERIMENT,
        {"learner": LEARNER},
        {"learner": LEARNER, "training": {"device": "cuda"}, "model": "digits", "base": {"v": [1]}},
    ],
)
def test_from_an_experiment_and_from_any_settings(
    content: dict[str, Any], trained: tuple[Learner, Path], tmp_path: Path
) -> None:
    learner, checkpoint = trained
    restored = restore_learner(written(tmp_path / "settings.yaml", content), checkpoint)
    assert torch.equal(restored.predict_proba(FEATURES), learner.predict_proba(FEATURES))


def test_settings_are_those_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "s.yaml", EXPERIMENT)
    settings = read_settings(file, ["training.device=cpu"])
    assert (settings.seed, settings.training.batch_size) == (5, 9)
    assert settings.training.device == "cpu"
    assert settings.learner.options == {"hidden": 3}


def test_what_is_wrong_is_said_with_its_place(
    trained: tuple[Learner, Path], tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    for content, message in (
        ({"seed": 1}, "learner: Field required"),
        ({"learner": {"name": "os:system"}}, "learner: .*os"),
        ({"learner": LEARNER, "training": {"batchsize": 1}}, "training.batchsize: .*'batch_size'"),
    ):
        with pytest.raises(ConfigurationError, match=rf"s\.yaml: {message}"):
            restore_learner(written(file, content), trained[1])
    written(file, {"learner": LEARNER})
    with pytest.raises(CheckpointError):
        restore_learner(file, tmp_path / "checkpoints" / "step_0009")
