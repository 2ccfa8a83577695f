"""The task that trains a new version."""

from __future__ import annotations

from typing import Any

from prefect import task

from querist.lineage import LineageReference
from querist.retraining.steps import carry_out
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="train",
    description="Train the new version, and store it.",
    task_run_name="train · {model.model} {retraining}",
    **TASK_SETTINGS,
)
async def train_version(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Train the new version; returns epochs, steps and losses."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "train", retraining)
    return done
