"""The train task."""

from __future__ import annotations

import asyncio

from prefect import task

from querist import phases
from querist.runs import RunReference, open_run
from querist.tasks.settings import TASK_SETTINGS


@task(name="train", description="Train the learner on all labels so far.", task_run_name="train · iteration {iteration}", **TASK_SETTINGS)
async def train(run: RunReference, iteration: int) -> dict[str, float | int | None]:
    """Fit the learner; returns epochs, steps and loss."""
    report = await asyncio.to_thread(phases.train, open_run(run), iteration)
    if report is None:
        return {}
    return {"epochs": report.epochs, "steps": report.steps, "train_loss": report.train_loss}
