"""Active learning with one learner, from the first label to the final model."""

from __future__ import annotations

import asyncio
import logging

from prefect import flow

from querist import tasks
from querist.config import Experiment
from querist.config.driver import RunId
from querist.errors import RunLockedError
from querist.flows.iteration import iteration
from querist.flows.learner_context import learner_context
from querist.flows.reports import ProgressReport, report_summary
from querist.flows.served import as_served
from querist.phases.begin import Beginning, begin
from querist.phases.conclude import Summary, read_summary
from querist.runs.host import current_host
from querist.runs.tracking import track_end
from querist.tasks.train import training_ahead
from querist.tracking.delivery import Delivery

_log = logging.getLogger(__name__)


@flow(
    name="active_learning",
    description="Train, measure, query and label, again and again, until a stop criterion is met.",
    flow_run_name="{experiment.name}",
    persist_result=False,
)
async def active_learning(experiment: Experiment, run_id: RunId | None = None) -> Summary:
    """Run an experiment; with the id of a run that exists, go on with that run.

    Args:
        experiment: what to do.
        run_id: a name for the run's folder, or the run to resume. Default: 8 random hex characters.
    """
    experiment = as_served(experiment)
    host = current_host()
    start = await host.make(begin, experiment, run_id)
    _log.info("run %s in %s", start.run.run_id, start.run.folder)
    try:
        if start.concluded:
            return read_summary(start.run.folder)
        return await drive(experiment, start)
    finally:
        await host.release(start.run)


async def drive(experiment: Experiment, start: Beginning) -> Summary:
    """Iterate until the run stops, then conclude it; the tracker hears of it all the while."""
    tracked = experiment.tracking.enabled
    delivery = None
    if tracked and not learner_context().delivers:
        delivery = Delivery(start.run.folder)
        delivery.start()
    try:
        async with ProgressReport(experiment) as progress, training_ahead(start.run):
            if not start.stopped:
                await iterate(experiment, start, progress)
        summary = await tasks.conclude(start.run)
        await report_summary(experiment.name, summary)
    except BaseException as error:
        if tracked and not isinstance(error, RunLockedError):  # it is another's now
            stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
            track_end(start.run.folder, "KILLED" if stopped else "FAILED")
        raise
    if delivery is not None:
        # After an error nobody waits: the deliverer finishes by itself.
        await asyncio.to_thread(delivery.wait, experiment.tracking.drain_seconds)
    return summary


async def iterate(experiment: Experiment, start: Beginning, progress: ProgressReport) -> None:
    """The loop itself: iteration after iteration until the run stops."""
    step, labels = start.iteration, start.labels
    while True:
        end = await iteration(start.run, step, experiment.name, labels)
        progress.update(step)
        if end.stop:
            return
        step, labels = step + 1, end.labels
