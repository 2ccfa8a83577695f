"""The task that ends a run."""

from __future__ import annotations

import asyncio

from prefect import task

from querist import phases
from querist.phases.conclude import Summary
from querist.runs import RunReference, open_run
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="conclude",
    description="Draw the figures, hand over the final model, and sum the run up.",
    task_run_name="conclude · {run.run_id}",
    **TASK_SETTINGS,
)
async def conclude(run: RunReference) -> Summary:
    """End the run; returns its summary."""
    return await asyncio.to_thread(phases.conclude, open_run(run))
