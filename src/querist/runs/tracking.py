"""What a run tells the tracker, through its spool: who it is, its numbers, its models, its end.

Everything that is said here has a name (`once`), so saying it again after a crash changes nothing.
The ledger is the truth and the spool follows it: what a crash took from the spool is said again
from the ledger, with the same values and times, when the run is resumed.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from querist.config.tracking import TrackingConfig
from querist.errors import CheckpointError, StorageError
from querist.protocols import Spool
from querist.runs.append_data import ItemPool
from querist.runs.curves import curve_name, has_curve, track_curve, training_metrics
from querist.runs.model import bring_model_to
from querist.runs.run import Run
from querist.runs.schedules import scheduled_numbers
from querist.storage.atomic import sha256, write_file
from querist.tracking.address import check_address
from querist.tracking.spool import TrackingSpool
from querist.values import Phase

EXAMPLE_ROWS = 5
INPUT_EXAMPLE, OUTPUT_EXAMPLE = "input_example.npy", "output_example.npy"
FINAL_MODEL = "model"
"""What the model that a run yields is called in the tracker."""
PAUSED = "SCHEDULED"
"""MLflow's word for a run that nobody works on, and that will be gone on with."""
_log = logging.getLogger(__name__)


def tracking_address(tracking: TrackingConfig, root: Path) -> tuple[str, str | None]:
    """The MLflow tracking URI, and the artifact folder where the store is our own SQLite file.

    Raises:
        ConfigurationError: the URI holds a password.
    """
    configured = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return check_address(configured), None
    return f"sqlite:///{root / 'mlflow.db'}", str(root / "mlartifacts")


def track_start(run: Run) -> None:
    """Introduce the run, or say that it goes on after it had failed; once is enough."""
    if not run.experiment.tracking.enabled:
        return
    if run.spool.status not in ("RUNNING", "FINISHED"):
        _introduce(run)
    track_file(run, run.reference.folder / "experiment.yaml")


def _introduce(run: Run) -> None:
    experiment = run.experiment
    uri, artifact_root = tracking_address(experiment.tracking, run.reference.root)
    pool = run.data.pool
    run.spool.append(
        "start",
        uri=uri,
        artifact_root=artifact_root,
        experiment=experiment.tracking.experiment or experiment.name,
        run_name=f"{experiment.name} {run.reference.run_id}",
        parent=experiment.driver.parent,
        params=flat_parameters(experiment.model_dump(mode="json")),
        tags={
            "querist.run_id": run.reference.run_id,
            "querist.version": version("querist"),
            "querist.code": code_version(),
            "querist.device": str(run.device),
            "querist.data_fingerprint": run.data.fingerprint,
        },
        dataset={
            "name": experiment.data.pool.name,
            "digest": run.data.fingerprint[:16],
            "size": len(pool.pool),
            "classes": pool.classes,
            "features": [] if run.data.sample is None else list(run.data.sample.shape[1:]),
        },
    )


def track_iteration(run: Run, iteration: int) -> None:
    """Tell the tracker the numbers of a committed iteration, by iteration and by labels.

    They come from the ledger alone, and so does their time: whenever this is called, and however
    often, the tracker hears the same.
    """
    if not run.experiment.tracking.enabled:
        return
    commit = next(row for row in run.ledger.commit_rows() if row.iteration == iteration)
    measured = run.ledger.metrology().get(iteration, {})
    values: dict[str, Any] = dict(measured)
    track_curve(run, iteration)
    for _, phase, seconds, outcome in run.ledger.phase_rows(iteration):
        values[f"seconds_{phase.value}"] = seconds
        if phase is Phase.TRAIN:
            losses = {key: outcome.get(key) for key in ("train_loss", "validation_loss")}
            values |= {key: loss for key, loss in losses.items() if loss is not None}
            values |= training_metrics(outcome)
    bought, cost = run.ledger.labels_spent(through=iteration)
    values |= {"labels": commit.labels, "labels_bought": bought, "label_cost": cost}
    values |= _settings_in_force(run, iteration, commit.settings)
    _say_metrics(run, f"iteration {iteration}", commit.committed, iteration, values)
    if measured:
        by_labels = {f"{metric}_by_labels": value for metric, value in measured.items()}
        name = f"iteration {iteration} by labels"
        _say_metrics(run, name, commit.committed, commit.labels, by_labels)
    if _logs_model(run, iteration):
        track_model(run, iteration, f"model-{iteration:04d}")


def track_missing(run: Run) -> None:
    """Tell the tracker, in order, of committed iterations that a crash kept it from hearing of.

    For a run that was just opened. A process may die between an iteration's commit and its line in
    the spool, and a power cut may take lines from the spool's end.
    """
    if not run.experiment.tracking.enabled:
        return
    for row in run.ledger.commit_rows():
        names = [f"iteration {row.iteration}"]
        if has_curve(run, row.iteration):
            names.append(curve_name(row.iteration))
        if run.ledger.metrology().get(row.iteration):
            names.append(f"iteration {row.iteration} by labels")
        if _logs_model(run, row.iteration):
            names.append(f"model model-{row.iteration:04d}")
        if all(run.spool.has(name) for name in names):
            continue
        _log.info("the tracker has not heard of iteration %d: it is told again", row.iteration)
        try:
            track_iteration(run, row.iteration)
        except CheckpointError as error:
            _log.warning("the model of iteration %d is not logged: %s", row.iteration, error)


def _settings_in_force(run: Run, iteration: int, settings: str) -> dict[str, float]:
    """The scheduled numbers, as the committed iteration had them."""
    schedules = run.strategies.schedules
    if not schedules:
        return {}
    history = run.history()[:iteration]
    numbers = scheduled_numbers(schedules, json.loads(settings), iteration, history)
    return {f"setting.{name}": value for name, value in numbers.items()}


def _say_metrics(run: Run, name: str, at: float, step: int, values: dict[str, Any]) -> None:
    run.spool.append("metrics", once=name, at=at, step=step, values=values)


def _logs_model(run: Run, iteration: int) -> bool:
    every = run.experiment.tracking.log_models_every
    return bool(every) and (iteration + 1) % every == 0


def flat_parameters(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as `group.key`, without what is not set."""
    if isinstance(content, dict):
        items = ((str(key), value) for key, value in content.items())
    elif isinstance(content, list) and any(isinstance(x, dict | list) for x in content):
        items = ((str(i), value) for i, value in enumerate(content))
    else:
        return {} if content is None or content in ([], {}) else {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flat_parameters(value, f"{prefix}.{key}" if prefix else key)
    return flat


def code_version() -> str:
    """The commit of the working directory, with `-dirty` when it has changes; or `unknown`."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def track_model(run: Run, iteration: int, name: str) -> None:
    """Hand the model of `iteration`, whose checkpoint is there, to the tracker.

    Raises:
        CheckpointError: the checkpoint is damaged or gone, and cannot be made again.
    """
    once = f"model {name}"
    if not run.experiment.tracking.enabled or run.spool.has(once):
        return
    bring_model_to(run, iteration)
    features = _example(run) if getattr(run.learner, "portable", True) else None
    if features is None:
        _log.info("the model is not logged: only the user's own steps know what its inputs are")
        return
    likely = run.data.task.has_probabilities
    outputs = run.learner.predict_proba(features) if likely else run.learner.predict(features)
    folder = run.reference.folder
    write_examples(folder, features, outputs)
    run.spool.append(
        "model",
        once=once,
        checkpoint=str(run.checkpoints.path(iteration).relative_to(folder)),
        experiment_file="experiment.yaml",
        input_example=INPUT_EXAMPLE,
        output_example=OUTPUT_EXAMPLE,
        name=name,
        step=iteration,
    )


def write_examples(folder: Path, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
    """Write what a model is logged with: a few samples, and what it says of them."""
    for name, values in ((INPUT_EXAMPLE, inputs), (OUTPUT_EXAMPLE, outputs)):
        buffer = io.BytesIO()
        np.save(buffer, values.float().numpy() if values.is_floating_point() else values.numpy())
        write_file(folder / name, buffer.getvalue())


def _example(run: Run) -> torch.Tensor | None:
    """Features of a few samples."""
    pool = run.data.pool
    if isinstance(pool, ItemPool):
        return run.data.sample
    return pool.features(torch.arange(min(EXAMPLE_ROWS, len(pool))))


def track_file(run: Run, path: Path, artifact_path: str | None = None) -> None:
    """Hand a file of the run's folder to the tracker; again only if it has changed."""
    if run.experiment.tracking.enabled:
        append_file(run.spool, str(path.relative_to(run.reference.folder)), artifact_path)


def append_file(spool: Spool, path: str, artifact_path: str | None = None) -> None:
    """Hand a file of the spool's folder to the tracker; again only if it has changed."""
    once = f"artifact {path} {sha256((spool.folder / path).read_bytes())}"
    spool.append("artifact", once=once, path=path, artifact_path=artifact_path)


def track_end(folder: Path, status: str, **tags: str) -> None:
    """Tell the tracker how the run in `folder` ended: FINISHED, FAILED or KILLED; or is PAUSED.

    FINISHED is final: what goes wrong afterwards is not the run's. A run that the tracker has not
    heard of has no end there either.

    Raises:
        StorageError: the disk refused to take that it FINISHED. Any other end has a reason that
            matters more than this one.
    """
    spool = TrackingSpool(folder)
    try:
        if spool.status not in (None, "FINISHED"):
            if tags:
                spool.append("tags", once=f"tags {sorted(tags.items())}", values=tags)
            spool.append("end", status=status)
        spool.sync()  # the run is marked as concluded next: nobody would say this again
    except StorageError as error:
        if status == "FINISHED":
            raise
        _log.warning("the tracker is not told that the run ended %s: %s", status, error)
    finally:
        spool.close()
