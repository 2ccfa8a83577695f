"""The task that makes a verdict come true."""

from __future__ import annotations

from typing import Any

from prefect import task

from querist.lineage import LineageReference
from querist.retraining.steps import carry_out
from querist.runs.host import current_host
from querist.tasks.events import emit
from querist.tasks.settings import TASK_SETTINGS


@task(
    name="promote",
    description="Make the challenger champion, or discard it.",
    task_run_name="promote · {model.model} {retraining}",
    **TASK_SETTINGS,
)
async def promote(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Promote or discard; returns the event, and who is champion."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "promote", retraining)
    tell_of(model, done)
    return done


def tell_of(model: LineageReference, done: dict[str, Any]) -> None:
    """Emit `querist.model.promoted`, `.discarded` or `.rolled-back`, for automations."""
    keys = ("version", "champion_before", "champion", "reason")
    emit(
        f"querist.model.{done['event']}",
        f"querist.model.{model.model}",
        {"model": model.model, **{key: done[key] for key in keys}},
    )
