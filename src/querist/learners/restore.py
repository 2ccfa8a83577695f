"""A trained learner from an experiment's file and a checkpoint, without the run or its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from querist.config.experiment import Experiment
from querist.config.load import load_experiment
from querist.learners.build import build_learner
from querist.protocols import Learner


def restore_learner(experiment_file: Path, checkpoint_folder: Path) -> Learner:
    """The learner as it was when the checkpoint was written, ready to predict on the CPU.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigurationError: the model's package cannot be imported, or is not allowed.
    """
    # Imported late: runs restore the learners of other runs.
    from querist.runs.checkpoints import read_checkpoint

    experiment = load_experiment(experiment_file, ["training.device=cpu"])
    return learner_from(experiment, *read_checkpoint(checkpoint_folder))


def learner_from(
    experiment: Experiment, files: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> Learner:
    """The learner that a checkpoint's files are the state of.

    Raises:
        ConfigurationError: the model's package cannot be imported, or is not allowed.
    """
    sample = None
    if "features" in manifest:
        dtype = getattr(torch, manifest["features_dtype"])
        sample = torch.zeros(1, *manifest["features"], dtype=dtype)
    learner = build_learner(experiment, classes=manifest["classes"], sample=sample)
    learner.load_state_files(files)
    return learner
