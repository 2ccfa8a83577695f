"""The task that measures champion and challenger."""

from __future__ import annotations

from typing import Any

from prefect import task

from querist.lineage import LineageReference
from querist.retraining.steps import carry_out
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="evaluate",
    description="Measure the new version and the champion on the same items.",
    task_run_name="evaluate · {model.model} {retraining}",
    **TASK_SETTINGS,
)
async def evaluate(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Measure both; returns their metrics."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "evaluate", retraining)
    return done
