"""What a run tells the tracker, through its spool: who it is, its models, its figures, its end."""

from __future__ import annotations

import io
import logging
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from querist.runs.append_data import ItemPool
from querist.runs.run import Run
from querist.storage.atomic import write_file
from querist.tracking.spool import TrackingSpool
from querist.values import Task

EXAMPLE_ROWS = 5
_log = logging.getLogger(__name__)


def tracking_uri(run: Run) -> tuple[str, str | None]:
    """The MLflow tracking URI, and the artifact folder where the store is our own SQLite file."""
    configured = run.experiment.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured, None
    root = run.reference.root
    return f"sqlite:///{root / 'mlflow.db'}", str(root / "mlartifacts")


def track_start(run: Run) -> None:
    """Introduce the run; does nothing when that was done before."""
    if not run.experiment.tracking.enabled or run.ledger.fact("tracked") is not None:
        return
    uri, artifact_root = tracking_uri(run)
    experiment = run.experiment
    pool = run.data.pool
    run.spool.append(
        "start",
        uri=uri,
        artifact_root=artifact_root,
        experiment=experiment.tracking.experiment or experiment.name,
        run_name=f"{experiment.name} {run.reference.run_id}",
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
    run.spool.append("artifact", path="experiment.yaml", artifact_path=None)
    run.ledger.set_fact("tracked", "1")


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
    """Hand the model of `iteration`, whose checkpoint is there, to the tracker."""
    if not run.experiment.tracking.enabled:
        return
    features = _example(run)
    if features is None:
        _log.info("the model is not logged: only the user's own steps know what its inputs are")
        return
    classify = run.data.task is Task.CLASSIFICATION
    outputs = run.learner.predict_proba(features) if classify else run.learner.predict(features)
    folder = run.reference.folder
    paths = {}
    for key, values in (("input", features), ("output", outputs)):
        buffer = io.BytesIO()
        np.save(buffer, values.float().numpy() if values.is_floating_point() else values.numpy())
        write_file(folder / f"{key}_example.npy", buffer.getvalue())
        paths[key] = f"{key}_example.npy"
    run.spool.append(
        "model",
        checkpoint=str(run.checkpoints.path(iteration).relative_to(folder)),
        experiment_file="experiment.yaml",
        input_example=paths["input"],
        output_example=paths["output"],
        name=name,
        step=iteration,
    )


def _example(run: Run) -> torch.Tensor | None:
    """Features of a few samples."""
    pool = run.data.pool
    if isinstance(pool, ItemPool):
        return run.data.sample
    return pool.features(torch.arange(min(EXAMPLE_ROWS, len(pool))))


def track_file(run: Run, path: Path, artifact_path: str | None = None) -> None:
    """Hand a file of the run's folder to the tracker."""
    if run.experiment.tracking.enabled:
        relative = str(path.relative_to(run.reference.folder))
        run.spool.append("artifact", path=relative, artifact_path=artifact_path)


def track_end(folder: Path, status: str, **tags: str) -> None:
    """Tell the tracker how the run in `folder` ended: FINISHED, FAILED or KILLED."""
    spool = TrackingSpool(folder)
    if tags:
        spool.append("tags", values=tags)
    spool.append("end", status=status)
