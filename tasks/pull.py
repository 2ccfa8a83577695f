"""The task that looks whether there is something to learn."""

from __future__ import annotations

from prefect import task

from querist.config.retraining import Retraining
from querist.lineage import LineageReference
from querist.retraining import pull as step
from querist.retraining.pull import Pulled
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="pull",
    description="Look what was labeled since the last retraining, and whether it is enough.",
    task_run_name="pull · {model.model}",
    **TASK_SETTINGS,
)
async def pull(model: LineageReference, settings: Retraining, window: str) -> Pulled:
    """Enter a retraining of the model, which is locked, if there is enough to learn."""
    pulled: Pulled = await current_host().make(step.pull_in_turn, model, settings, window)
    return pulled
