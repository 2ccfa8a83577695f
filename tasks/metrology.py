"""The metrology task."""

from __future__ import annotations

import asyncio

from prefect import task

from querist import phases
from querist.runs import RunReference, open_run
from querist.tasks.settings import TASK_SETTINGS


@task(name="metrology", description="Measure the learner on held-out data.", task_run_name="metrology · iteration {iteration}", **TASK_SETTINGS)
async def metrology(run: RunReference, iteration: int) -> dict[str, float]:
    """Measure the learner; returns the values by metric."""
    return dict(await asyncio.to_thread(phases.metrology, open_run(run), iteration))
