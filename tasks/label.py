"""The label task."""

from __future__ import annotations

import asyncio

from prefect import task

from querist import phases
from querist.runs import RunReference, open_run
from querist.tasks.settings import TASK_SETTINGS


@task(name="label", description="Ask for the labels of what was chosen.", task_run_name="label · iteration {iteration}", **TASK_SETTINGS)
async def label(run: RunReference, iteration: int) -> int:
    """Ask for labels; returns how many came."""
    return await asyncio.to_thread(phases.label, open_run(run), iteration)
