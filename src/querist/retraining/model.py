"""The learner of a version: as it is stored, or as a new one begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from querist.config.learner import VersionSettings
from querist.config.load import load_experiment
from querist.config.retraining import Retraining
from querist.errors import ConfigurationError, RunError
from querist.learners.build import build_learner
from querist.learners.restore import learner_from
from querist.lineage import Lineage
from querist.phases.conclude import SUMMARY_FILE, read_summary
from querist.protocols import Learner
from querist.runs.checkpoints import read_checkpoint
from querist.runs.open import EXPERIMENT_FILE, run_folder

Weights = tuple[dict[str, bytes], dict[str, Any]]
"""The files of a checkpoint, and its manifest."""


def learner_of(lineage: Lineage, version: int) -> Learner:
    """A version's learner as it was trained; kept, since it is asked several times."""
    key = f"learner {version}"
    if key not in lineage.kept:
        settings = lineage.version_settings(version)
        lineage.kept[key] = learner_from(settings, *lineage.weights(version))
    found: Learner = lineage.kept[key]
    return found


@dataclass(frozen=True)
class Base:
    """Where a new version starts.

    Attributes:
        words: what it is, for people.
        parent: the version that it is; None for first weights and for a run's model.
        run_id: the run whose model it is; None otherwise.
        settings: what it is made of, as JSON; empty for first weights of the first version.
    """

    words: str
    parent: int | None
    run_id: str | None
    settings: dict[str, Any]

    @property
    def has_weights(self) -> bool:
        """Whether there are weights to go on from."""
        return self.parent is not None or self.run_id is not None


def find_base(lineage: Lineage, settings: Retraining) -> Base:
    """Where a new version starts, as the settings say.

    Raises:
        RunError: there is no such version, or the run has no model yet.
    """
    base = settings.base
    champion = lineage.ledger.champion()
    if base.start == "run":
        assert base.run_id is not None, "checked when the configuration was read"
        content = _run_settings(lineage.reference.root, base.run_id)
        return Base(f"the model of run {base.run_id}", None, base.run_id, content)
    parent = base.version if base.start == "version" else champion
    content = {} if parent is None else dict(lineage.ledger.version(parent).settings)
    if base.start == "scratch" or parent is None:
        return Base("first weights", None, None, content)
    return Base(f"version {parent}", parent, None, content)


def _run_settings(root: Path, run_id: str) -> dict[str, Any]:
    folder = run_folder(run_id, root)
    experiment = load_experiment(folder / EXPERIMENT_FILE)
    _model_of_run(folder)
    return {
        "learner": experiment.learner.model_dump(mode="json"),
        "training": experiment.training.model_dump(mode="json"),
    }


def _model_of_run(folder: Path) -> Path:
    if not (folder / SUMMARY_FILE).exists():
        raise RunError(
            f"run {folder.name} has not ended, so it yields no model yet: wait for it, or start "
            "from another base"
        )
    return folder / "checkpoints" / f"step_{read_summary(folder).model_iteration:04d}"


def weights_of(lineage: Lineage, base: Base) -> Weights:
    """The weights that a new version goes on from.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    if base.run_id is not None:
        return read_checkpoint(_model_of_run(run_folder(base.run_id, lineage.reference.root)))
    assert base.parent is not None, "first weights are built"
    return lineage.weights(base.parent)


def new_learner(
    lineage: Lineage,
    settings: VersionSettings,
    base: Base,
    *,
    classes: int | None,
    sample: torch.Tensor,
) -> Learner:
    """The learner that a new version begins as.

    Raises:
        ConfigurationError: it is another model than the base, whose weights it cannot take.
        DataError: the base has other features or classes.
    """
    if not base.has_weights:
        return build_learner(settings, classes=classes, sample=sample)
    if base.settings["learner"] != settings.learner.model_dump(mode="json"):
        raise ConfigurationError(
            f"the learner differs from that of {base.words}, whose weights it cannot take: set "
            "base.start to scratch, or remove learner"
        )
    files, manifest = weights_of(lineage, base)
    shape = list(sample.shape[1:])
    if manifest["classes"] != classes or manifest.get("features", shape) != shape:
        raise ConfigurationError(
            f"{base.words} was trained on {manifest['classes']} classes and features "
            f"{manifest.get('features')}, the items have {classes} and {shape}: set base.start to "
            "scratch"
        )
    learner = build_learner(settings, classes=classes, sample=sample)
    learner.load_state_files(files)
    return learner
