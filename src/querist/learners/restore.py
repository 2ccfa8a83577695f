"""A trained learner from an experiment's file and a checkpoint, without the run or its data."""

from __future__ import annotations

from pathlib import Path

import torch

from querist.config.load import load_experiment
from querist.learners.build import build_learner
from querist.protocols import Learner
from querist.runs.checkpoints import read_checkpoint


def restore_learner(experiment_file: Path, checkpoint_folder: Path) -> Learner:
    """The learner as it was when the checkpoint was written, ready to predict on the CPU.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigurationError: the model's package cannot be imported, or is not allowed.
    """
    experiment = load_experiment(experiment_file, ["training.device=cpu"])
    files, manifest = read_checkpoint(checkpoint_folder)
    sample = None
    if "features" in manifest:
        dtype = getattr(torch, manifest["features_dtype"])
        sample = torch.zeros(1, *manifest["features"], dtype=dtype)
    learner = build_learner(experiment, classes=manifest["classes"], sample=sample)
    learner.load_state_files(files)
    return learner
