"""The tracker's side of a run that goes on: it hears of it all the while, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

from querist.config import Experiment
from querist.errors import RunLockedError
from querist.flows.learner_context import learner_context
from querist.runs import RunReference
from querist.runs.tracking import track_end
from querist.tracking.delivery import Delivery


@asynccontextmanager
async def tracked(experiment: Experiment, run: RunReference) -> AsyncIterator[None]:
    """Inside, what the run says is delivered; an error inside is the run's end in the tracker."""
    enabled = experiment.tracking.enabled
    delivery = None
    if enabled and not learner_context().delivers:
        delivery = Delivery(run.folder)
        delivery.start()
    with end_told(run.folder) if enabled else nullcontext():
        yield
    if delivery is not None:
        # After an error nobody waits: the deliverer finishes by itself.
        await asyncio.to_thread(delivery.wait, experiment.tracking.drain_seconds)


@contextmanager
def end_told(folder: Path) -> Iterator[None]:
    """Inside, an error is the end, in the tracker, of what has its spool in `folder`."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, RunLockedError):  # it is another's now
            stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
            track_end(folder, "KILLED" if stopped else "FAILED")
        raise
