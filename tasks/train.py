"""The training task, and training that starts while Prefect writes down the iteration before.

Between the commit of an iteration and the training task of the next one lie a dozen calls to the
Prefect API. It is decided by then that the next iteration comes and all of its labels are durable,
so its training starts at once and the task waits for it. The ledger has the real times.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task

from querist import phases
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS


@dataclass
class _Ahead:
    """A training that was started before its task, in the context of the run's own flow."""

    context: contextvars.Context
    until: int | None
    iteration: int = -1
    training: asyncio.Task[dict[str, Any]] | None = None


_ahead: dict[Path, _Ahead] = {}


@asynccontextmanager
async def training_ahead(run: RunReference, until: int | None = None) -> AsyncIterator[None]:
    """Inside, `start_training` starts trainings of `run`; at the end none is left behind.

    Args:
        run: the run.
        until: the first iteration that is not for now. Default: all are.
    """
    _ahead[run.folder] = _Ahead(contextvars.copy_context(), until)
    try:
        yield
    finally:
        left = _ahead.pop(run.folder).training
        if left is not None:  # the flow failed or was cancelled before the task took it
            left.cancel()
            await asyncio.wait([left])
            if not left.cancelled():
                left.exception()


def start_training(run: RunReference, iteration: int) -> None:
    """Start the training of `iteration` if it is for now; its task will wait for it."""
    ahead = _ahead.get(run.folder)
    if ahead is not None and (ahead.until is None or iteration < ahead.until):
        ahead.iteration = iteration
        ahead.training = asyncio.create_task(_train(run, iteration), context=ahead.context)


async def _train(run: RunReference, iteration: int) -> dict[str, Any]:
    done: dict[str, Any] = await current_host().call(run, phases.train, iteration)
    return done


def _started(run: RunReference, iteration: int) -> asyncio.Task[dict[str, Any]] | None:
    """The training of `iteration` that was started and that no task has taken over yet."""
    ahead = _ahead.get(run.folder)
    return ahead.training if ahead is not None and ahead.iteration == iteration else None


def training_started(run: RunReference, iteration: int) -> bool:
    """Whether the training of `iteration` was started, and no task has taken it over yet."""
    return _started(run, iteration) is not None


@task(
    name="train",
    description="Train the learner on all labels so far.",
    task_run_name="train · iteration {iteration}",
    **TASK_SETTINGS,
)
async def train(run: RunReference, iteration: int) -> dict[str, Any]:
    """Fit the learner; returns labels, epochs, steps and losses."""
    started = _started(run, iteration)
    if started is None:
        return await _train(run, iteration)
    _ahead[run.folder].training = None
    return await started
