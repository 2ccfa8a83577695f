"""The query task."""

from __future__ import annotations

from prefect import task

from querist import phases
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="query",
    description="Choose the samples that the learner would learn most from.",
    task_run_name="query · iteration {iteration}",
    **TASK_SETTINGS,
)
async def query(run: RunReference, iteration: int) -> int:
    """Choose samples; returns how many were chosen."""
    chosen: int = await current_host().call(run, phases.query, iteration)
    return chosen
