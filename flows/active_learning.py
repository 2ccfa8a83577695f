"""Active learning with one learner, from the first label to the final model."""

from __future__ import annotations

import logging

from prefect import flow

from querist import tasks
from querist.config import Experiment
from querist.config.driver import RunId
from querist.flows.iteration import iteration
from querist.flows.reports import ProgressReport, report_summary
from querist.flows.served import as_served
from querist.flows.tracked import tracked
from querist.phases.begin import Beginning, begin
from querist.phases.conclude import Summary, read_summary
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.train import training_ahead

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
    async with tracked(experiment, start.run):
        report = ProgressReport(
            experiment.name, start.run.run_id, experiment.driver.max_active_learning_steps
        )
        async with report as progress, training_ahead(start.run):
            if not start.stopped:
                await iterate(experiment, start, progress)
        return await conclude(experiment, start.run)


async def iterate(
    experiment: Experiment, start: Beginning, progress: ProgressReport, until: int | None = None
) -> bool:
    """The loop itself: iteration after iteration until the run stops, or `until` would be next.

    Returns whether the run stops.
    """
    step, labels = start.iteration, start.labels
    while until is None or step < until:
        end = await iteration(start.run, step, experiment.name, labels)
        progress.update(step)
        if end.stop:
            return True
        step, labels = step + 1, end.labels
    return False


async def conclude(experiment: Experiment, run: RunReference) -> Summary:
    """End the run, and show what it did."""
    summary = await tasks.conclude(run)
    await report_summary(experiment.name, summary)
    return summary
