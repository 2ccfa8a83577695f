"""The label task."""

from __future__ import annotations

from prefect import task

from querist import phases
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="label",
    description="Ask for the labels of what was chosen.",
    task_run_name="label · iteration {iteration}",
    **TASK_SETTINGS,
)
async def label(run: RunReference, iteration: int) -> int:
    """Ask for labels; returns how many came."""
    came: int = await current_host().call(run, phases.label, iteration)
    return came
