"""The task that ends a run."""

from __future__ import annotations

from prefect import task

from querist import phases
from querist.phases.conclude import Summary
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="conclude",
    description="Draw the figures, hand over the final model, and sum the run up.",
    task_run_name="conclude · {run.run_id}",
    **TASK_SETTINGS,
)
async def conclude(run: RunReference) -> Summary:
    """End the run; returns its summary."""
    summary: Summary = await current_host().call(run, phases.conclude)
    return summary
