"""The fourth step: the new version is trained, and its weights are stored."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import torch

from querist.config.learner import VersionSettings
from querist.config.subsets import VALIDATION
from querist.errors import DataError
from querist.faults import crash_point
from querist.ledger.models import Version
from querist.lineage import Lineage
from querist.pools.labeled import LabeledSet
from querist.progress import Progress, tell
from querist.protocols import Learner
from querist.retraining.chosen import Answers, chosen, data_digest, test_items, train_items
from querist.retraining.leaks import refuse_leaks
from querist.retraining.model import Base, find_base, new_learner
from querist.retraining.source import Source, open_source
from querist.retraining.track import track_version
from querist.runs.checkpoints import PartialCheckpoint
from querist.training.job import TrainingJob
from querist.training.watched import EpochsTold, Fitted, fit_watched
from querist.values import Phase

MAX_POINTS = 500
"""Points of a training curve that are kept; the tracker gets fewer, a gate may judge them."""
_log = logging.getLogger(__name__)


def train(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Fit the new version and store it; returns epochs, steps and losses.

    Raises:
        DataError: the run whose model is the base has labeled items of the test subset.
        LeaseLostError: another process has taken the model over.
    """
    done = lineage.ledger.step(retraining, "train")
    if done is not None:
        _partial(lineage, retraining).remove()
        track_version(lineage, retraining)
        return done
    started = time.time()
    made = lineage.ledger.step(retraining, "new_version")
    assert made is not None, "the step before"
    settings = VersionSettings.model_validate(made["settings"])
    answers = lineage.ledger.answers(through=retraining)
    source = open_source(lineage, lineage.settings(retraining))
    base = base_of(lineage, retraining, made)
    ids = train_items(lineage, settings, answers)
    if data_digest(lineage, ids, answers) != made["fingerprint"]:
        raise DataError(
            f"what version {retraining} shall learn is not what it was: start the retraining anew"
        )
    if base.run_id is not None:
        tested = source.features(test_items(lineage, settings, answers))
        refuse_leaks(lineage.reference.root, base.run_id, tested)
    labeled = source.labeled(ids, answers)
    sample = labeled.pool.features(torch.arange(1))
    learner = new_learner(lineage, settings, base, classes=source.classes, sample=sample)
    validation = _validation(lineage, settings, source, answers)
    fitted = _fit(lineage, retraining, settings, base, learner, labeled, validation)
    crash_point("train.fitted")
    lineage.ledger.db.check_lease()
    about = {
        "labels": len(labeled),
        "classes": source.classes,
        "features": list(sample.shape[1:]),
        "features_dtype": str(sample.dtype).removeprefix("torch."),
    }
    saving = time.monotonic()
    digest = lineage.checkpoints(retraining).save(retraining, learner.state_files(), about)
    saving = time.monotonic() - saving
    crash_point("version.checkpoint")
    version = Version(
        version=retraining,
        parent=base.parent,
        fingerprint=made["fingerprint"],
        settings=made["settings"],
        checkpoint=digest,
    )
    outcome = {
        **fitted.outcome(labels=len(labeled), saving=saving),
        "curve": [list(row) for row in fitted.curve],
    }
    lineage.ledger.record_version(version, outcome, started)
    crash_point("version.recorded")
    _partial(lineage, retraining).remove()
    lineage.kept[f"learner {retraining}"] = learner
    track_version(lineage, retraining)
    return outcome


def base_of(lineage: Lineage, retraining: int, made: dict[str, Any]) -> Base:
    """The base that the version was cloned from, though another champion may stand there now."""
    if made["parent"] is not None:
        parent = lineage.ledger.version(made["parent"])
        return Base(made["base"], made["parent"], None, dict(parent.settings))
    if made["base_run"] is not None:
        return find_base(lineage, lineage.settings(retraining))
    return Base(made["base"], None, None, {})


def _validation(
    lineage: Lineage, settings: VersionSettings, source: Source, answers: Answers
) -> LabeledSet | None:
    """The items that early stopping looks at: those of the subset `validation`."""
    ids = chosen(lineage, VALIDATION, None, answers)
    if not ids and settings.training.early_stopping is not None:
        raise DataError(
            f"training.early_stopping needs items in a subset {VALIDATION!r}: give it a share in "
            "data.split, or remove early_stopping"
        )
    taken = VALIDATION in (settings.train_subset, settings.test_subset)
    if taken and settings.training.early_stopping is not None:
        raise DataError(
            f"training.early_stopping may not look at {VALIDATION!r}, which is trained or tested "
            "on: choose other subsets, or remove early_stopping"
        )
    if not ids or taken:
        return None
    return source.labeled(ids, answers)


def _fit(
    lineage: Lineage,
    retraining: int,
    settings: VersionSettings,
    base: Base,
    learner: Learner,
    labeled: LabeledSet,
    validation: LabeledSet | None,
) -> Fitted:
    """Train; returns what it did, with the losses epoch by epoch."""
    partial = _partial(lineage, retraining) if settings.training.checkpoint_epochs else None
    name = lineage.reference.version_name(retraining)
    progress = Progress(name, name, 0, 1, Phase.TRAIN, labels=len(labeled))
    job = TrainingJob(
        # The first iteration is the one that trains from first weights.
        iteration=1 if base.has_weights else 0,
        settings=settings.training,
        seed=settings.seed,
        device=getattr(learner, "device", torch.device("cpu")),
        dtype=getattr(learner, "dtype", torch.float32),
        validation=validation,
        partial=partial,
        on_epoch=EpochsTold(progress),
    )
    tell(progress)
    fitted = fit_watched(learner, labeled, job, points=MAX_POINTS)
    tell(replace(progress, phase=None))
    report = fitted.report
    _log.info("version %d: %d epochs, %d steps", retraining, report.epochs, report.steps)
    return fitted


def _partial(lineage: Lineage, retraining: int) -> PartialCheckpoint:
    """The state of a training in the middle; nobody needs it once the version is recorded."""
    return PartialCheckpoint(lineage.version_folder(retraining), retraining)
