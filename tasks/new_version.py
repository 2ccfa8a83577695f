"""The task that clones the base as the start of a new version."""

from __future__ import annotations

from typing import Any

from prefect import task

from querist.lineage import LineageReference
from querist.retraining.steps import carry_out
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="new version",
    description="Clone the base model as the start of a new version.",
    task_run_name="new version · {model.model} {retraining}",
    **TASK_SETTINGS,
)
async def new_version(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Clone the base; returns the new version, its base, and what it will learn from."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "new_version", retraining)
    return done
