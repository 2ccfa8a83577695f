"""Active learning with one learner, from the first label to the final model."""

from __future__ import annotations

import asyncio

from prefect import flow

from querist import tasks
from querist.config import Experiment
from querist.config.driver import RunId
from querist.errors import ConfigurationError
from querist.flows.iteration import iteration
from querist.flows.reports import ProgressReport, report_summary
from querist.phases import conclude, decide
from querist.phases.conclude import Summary
from querist.runs import Run, RunReference, close_run, create_run, open_run
from querist.runs.tracking import track_end, track_start
from querist.tasks.train import training_ahead
from querist.tracking.delivery import Delivery


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
    run = await asyncio.to_thread(create_or_open, experiment, run_id)
    try:
        return await drive(run)
    finally:
        close_run(run.reference)


def create_or_open(experiment: Experiment, run_id: str | None) -> Run:
    """A new run, or the one with this id if it exists.

    Raises:
        ConfigurationError: the run was made with another configuration.
    """
    chosen = run_id or experiment.driver.run_id
    if chosen is not None:
        reference = RunReference(run_id=chosen, root=experiment.driver.root_log_dir.absolute())
        if (reference.folder / "experiment.yaml").exists():
            run = open_run(reference)
            driver = experiment.driver.model_copy(update={"run_id": None})
            if run.experiment != experiment.model_copy(update={"driver": driver}):
                close_run(reference)
                raise ConfigurationError(
                    f"run {chosen} was made with another configuration: choose another run id, or "
                    f"go on with it as it is by `querist resume {chosen}`"
                )
            return run
    return create_run(experiment, chosen)


async def drive(run: Run) -> Summary:
    """Iterate until the run stops, then conclude it."""
    reference = run.reference
    if run.ledger.fact("concluded") is not None:
        return conclude(run)
    track_start(run)
    delivery = Delivery(reference.folder) if run.experiment.tracking.enabled else None
    if delivery is not None:
        delivery.start()
    try:
        async with ProgressReport(run) as progress, training_ahead(reference):
            await iterate(run, progress)
        summary = await tasks.conclude(reference)
        await report_summary(run, summary)
    except BaseException as error:
        stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        track_end(run, "KILLED" if stopped else "FAILED")
        raise
    finally:
        if delivery is not None:
            seconds = run.experiment.tracking.drain_seconds
            await asyncio.to_thread(delivery.wait, seconds)
    return summary


async def iterate(run: Run, progress: ProgressReport) -> None:
    """The loop itself: iteration after iteration until the run stops."""
    step = run.ledger.next_iteration()
    if step > 0 and decide(run, step - 1).stop:
        return
    while True:
        labels = len(run.labeled(step))
        decision = await iteration(run.reference, step, run.experiment.name, labels)
        progress.update(step)
        if decision.stop:
            return
        step += 1
