"""The metrology task."""

from __future__ import annotations

from prefect import task

from querist import phases
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="metrology",
    description="Measure the learner on held-out data.",
    task_run_name="metrology · iteration {iteration}",
    **TASK_SETTINGS,
)
async def metrology(run: RunReference, iteration: int) -> dict[str, float]:
    """Measure the learner; returns the values by metric."""
    values: dict[str, float] = await current_host().call(run, phases.metrology, iteration)
    return values
