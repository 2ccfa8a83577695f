"""An active-learning run that is gone on with piece by piece, as labels are wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from prefect import State, flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from querist.config import Experiment
from querist.config.driver import RunId
from querist.errors import ConfigurationError
from querist.flows.active_learning import conclude, iterate
from querist.flows.reports import ProgressReport
from querist.flows.served import as_served
from querist.flows.tracked import tracked
from querist.phases.begin import Beginning, begin
from querist.phases.collected import Collected, announced, collected, pause
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.events import LABELS_COLLECTED, emit
from querist.tasks.train import training_ahead

Iterations = Annotated[int, Field(ge=1, le=10**6)]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collection:
    """What one collection of labels did.

    Attributes:
        run_id: the run.
        folder: where everything is.
        iterations: iterations that were made whole now.
        iterations_of_run: those of the whole run.
        labels: labeled samples at the end, the initial ones included.
        labels_new: labels that came since the collection before, or since the run was made.
        pending: labels that were asked for and did not come yet.
        concluded: whether the run has ended, so that there is nothing more to ask.
        stop_reason: why it has, in words; None while it goes on.
    """

    run_id: str
    folder: str
    iterations: int
    iterations_of_run: int
    labels: int
    labels_new: int
    pending: int
    concluded: bool
    stop_reason: str | None


@flow(
    name="label_collection",
    description="Go on with an active-learning run for some iterations, then let go of it.",
    flow_run_name="{experiment.name} · labels of {run_id}",
    persist_result=False,
)
async def label_collection(
    experiment: Experiment, run_id: RunId, iterations: Iterations = 1
) -> Collection | State[Collection]:
    """Go on with a run for some iterations; the next call goes on from there.

    The run is concluded when a rule of its own says stop, and by nothing else. An iteration that
    was cut off is finished first, and counts.

    Args:
        experiment: what to do.
        run_id: the run, made unless it is there.
        iterations: how many iterations to do now, at most.

    Raises:
        ConfigurationError: the experiment asks for no labels.
        RunLockedError: another process works on the run.
    """
    if experiment.driver.skip_labeling:
        raise ConfigurationError(
            "label collection asks for labels, and driver.skip_labeling is true: set it to false"
        )
    experiment = as_served(experiment)
    host = current_host()
    start: Beginning = await host.make(begin, experiment, run_id)
    run = start.run
    try:
        await host.call(run, collected)  # from now on, labels are new
        if not start.concluded:
            await collect(experiment, start, iterations)
        found: Collected = await host.call(run, collected)
        if found.labels_new:
            tell(run, found)
            await host.call(run, announced, found.labels)
    finally:
        await host.release(run)
    collection = Collection(
        run_id=run.run_id,
        folder=str(run.folder),
        iterations=found.iterations - start.iteration,
        iterations_of_run=found.iterations,
        labels=found.labels,
        labels_new=found.labels_new,
        pending=found.pending,
        concluded=found.concluded,
        stop_reason=found.stop_reason,
    )
    await report(experiment.name, collection)
    return ended(collection, before=start.concluded)


async def collect(experiment: Experiment, start: Beginning, iterations: int) -> None:
    """Iterate; conclude a run that stops, and let go of one that does not."""
    run, until = start.run, start.iteration + iterations
    async with tracked(experiment, run):
        stops = start.stopped
        if not stops:
            last = min(until, experiment.driver.max_active_learning_steps)
            first = start.iteration
            async with (
                ProgressReport(experiment.name, run.run_id, last - first, first) as progress,
                training_ahead(run, until),
            ):
                stops = await iterate(experiment, start, progress, until)
        if stops:
            await conclude(experiment, run)
        else:
            await current_host().call(run, pause)


def tell(run: RunReference, found: Collected) -> None:
    """Let automations know that labels came."""
    payload = {"run_id": run.run_id, "labels": found.labels, "labels_new": found.labels_new}
    emit(LABELS_COLLECTED, f"querist.run.{run.run_id}", payload)


def ended(collection: Collection, *, before: bool) -> State[Collection]:
    """How the flow ends, in a name for people.

    Args:
        collection: what it did.
        before: whether the run had been concluded before.
    """
    if before:
        name = "Nothing to ask"
        words = f"run {collection.run_id} has ended: {collection.stop_reason}"
    elif collection.concluded:
        name, words = "Concluded", f"the run ends here: {collection.stop_reason}"
    elif collection.pending:
        name, words = "Waiting for labels", f"{collection.pending} labels are pending"
    else:
        name, words = "Collected", f"{collection.labels_new} labels came"
    _log.info("run %s: %s (%s)", collection.run_id, name.lower(), words)
    return Completed(name=name, message=words, data=collection)


async def report(name: str, collection: Collection) -> None:
    """What was collected, as text in the Prefect UI."""
    key = "".join(c if c.isalnum() else "-" for c in collection.run_id.lower())
    await acreate_markdown_artifact(
        markdown=collection_markdown(name, collection),
        key=f"collection-{key}",
        description=f"Labels of {name}, run {collection.run_id}",
    )


def collection_markdown(name: str, collection: Collection) -> str:
    """The collection in Markdown."""
    lines = [
        f"## {name}, run {collection.run_id}",
        f"- labels: {collection.labels} ({collection.labels_new} new, {collection.pending} "
        "pending)",
        f"- iterations: {collection.iterations_of_run} ({collection.iterations} now)",
        f"- concluded: {collection.stop_reason}"
        if collection.concluded
        else "- goes on: the next collection asks for more",
        f"- folder: `{collection.folder}`",
    ]
    return "\n".join(lines)
