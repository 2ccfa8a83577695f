"""A trained learner from a settings file and a checkpoint, without the run or its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from querist.config.learner import LearnerSettings
from querist.config.load import apply_overrides, explain, read_yaml
from querist.errors import ConfigurationError
from querist.learners.build import DescribesLearner, build_learner
from querist.protocols import Learner


def restore_learner(settings_file: Path, checkpoint_folder: Path) -> Learner:
    """The learner as it was when the checkpoint was written, ready to predict on the CPU.

    Args:
        settings_file: a YAML file with `learner`, and where set `seed` and `training`: those of an
            experiment or of a model version. What else it holds does not matter.
        checkpoint_folder: the checkpoint.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigurationError: the model's package cannot be imported, or is not allowed.
    """
    # Imported late: runs restore the learners of other runs.
    from querist.runs.checkpoints import read_checkpoint

    settings = read_settings(settings_file, ["training.device=cpu"])
    return learner_from(settings, *read_checkpoint(checkpoint_folder))


def read_settings(path: Path, overrides: Sequence[str] = ()) -> LearnerSettings:
    """What a settings file says about the learner, with `key=value` overrides.

    Raises:
        ConfigurationError: what is wrong, in one line.
    """
    content = apply_overrides(read_yaml(path), overrides)
    about_learner = {key: content[key] for key in LearnerSettings.model_fields if key in content}
    try:
        return LearnerSettings.model_validate(about_learner)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error, LearnerSettings)}") from error


def learner_from(
    settings: DescribesLearner, files: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> Learner:
    """The learner that a checkpoint's files are the state of.

    Raises:
        ConfigurationError: the model's package cannot be imported, or is not allowed.
    """
    sample = None
    if "features" in manifest:
        dtype = getattr(torch, manifest["features_dtype"])
        sample = torch.zeros(1, *manifest["features"], dtype=dtype)
    learner = build_learner(settings, classes=manifest["classes"], sample=sample)
    learner.load_state_files(files)
    return learner
