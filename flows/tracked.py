"""The tracker's side of a run that goes on: it hears of it all the while, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    try:
        yield
    except BaseException as error:
        if enabled and not isinstance(error, RunLockedError):  # it is another's now
            stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
            track_end(run.folder, "KILLED" if stopped else "FAILED")
        raise
    if delivery is not None:
        # After an error nobody waits: the deliverer finishes by itself.
        await asyncio.to_thread(delivery.wait, experiment.tracking.drain_seconds)
