"""The split task."""

from __future__ import annotations

from typing import Any

from prefect import task

from querist.lineage import LineageReference
from querist.retraining.steps import carry_out
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="split",
    description="Give every new item its subset, for ever.",
    task_run_name="split · {model.model}",
    **TASK_SETTINGS,
)
async def split(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Split the items; returns how many each subset has."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "split", retraining)
    return done
