"""Several learners side by side, each a subflow with a run of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from prefect import State, flow
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.states import Completed

from querist.config.driver import RunId
from querist.config.parallel import ParallelExperiment
from querist.engines import Engine, cores_of_each, open_engine
from querist.errors import QueristError
from querist.flows.active_learning import active_learning
from querist.flows.deployed import run_deployed
from querist.flows.learner_context import LearnerContext, surrounded_by
from querist.flows.served import parallel_as_served
from querist.flows.stream import current_channel
from querist.runs.host import hosted_by
from querist.runs.outcomes import FAILED, STOPPED, LearnerOutcome, ParallelSummary
from querist.runs.parallel import ParallelRun
from querist.tracking.delivery import Delivery
from querist.training.threads import use_at_most

_log = logging.getLogger(__name__)


class ParallelFailedError(QueristError, RuntimeError):
    """Fewer learners finished than `parallel.on_failure` asks for."""


@flow(
    name="parallel_learners",
    description="Run several learners side by side, each with its own schedule and stop criteria.",
    flow_run_name="{experiment.base.name}",
    persist_result=False,
)
async def parallel_learners(
    experiment: ParallelExperiment, run_id: RunId | None = None
) -> ParallelSummary | State[ParallelSummary]:
    """Run the learners; with the id of a parallel run that exists, go on with those that are left.

    Args:
        experiment: the learners.
        run_id: a name for the parallel run's folder. Default: 8 random hex characters.

    Raises:
        ParallelFailedError: the rule of `parallel.on_failure` is not met.
    """
    run = ParallelRun(parallel_as_served(experiment), run_id)
    try:
        run.track_start()
        summary = await drive(run)
    finally:
        run.close()
    await report(summary, experiment.base.name)
    if summary.verdict == "failed":
        raise ParallelFailedError(
            f"parallel run {summary.run_id} failed, {summary.reason}: `querist resume "
            f"{summary.run_id}` goes on with what did not finish"
        )
    if summary.verdict == "degraded":
        return Completed(name="Degraded", message=summary.reason, data=summary)
    return summary


async def drive(run: ParallelRun) -> ParallelSummary:
    """Run all learners to their ends; the tracker hears of it all the while."""
    tracking = run.experiment.base.tracking
    # One deliverer for all: each would be a process of its own that holds mlflow.
    own = [] if run.experiment.parallel.where == "deployment" else run.learners
    delivery = None
    if tracking.enabled:
        delivery = Delivery(run.folder, [run.run_of(name).folder for name in own])
        delivery.start()
    try:
        outcomes = await run_all(run)
    except BaseException as error:
        stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        run.track_end("KILLED" if stopped else "FAILED")
        raise
    summary = await asyncio.to_thread(run.conclude, outcomes)
    if delivery is not None:
        await asyncio.to_thread(delivery.wait, tracking.drain_seconds)
    return summary


async def run_all(run: ParallelRun) -> list[LearnerOutcome]:
    """Run the learners, as many at once as may be, and wait for all of them."""
    config = run.experiment.parallel
    turn = asyncio.Semaphore(at_once(run))

    async def in_turn(name: str, engine: Engine | None) -> LearnerOutcome:
        async with turn:
            return await run_one(run, name, engine)

    if config.where == "deployment":
        return await _gather(
            run, {n: asyncio.ensure_future(in_turn(n, None)) for n in run.learners}
        )
    async with open_engine(config, at_once(run)) as engine:
        running = {n: asyncio.ensure_future(in_turn(n, engine)) for n in run.learners}
        return await _gather(run, running)


def at_once(run: ParallelRun) -> int:
    """How many learners there are at once."""
    return min(run.experiment.parallel.max_parallel or len(run.learners), len(run.learners))


async def _gather(
    run: ParallelRun, running: Mapping[str, asyncio.Future[LearnerOutcome]]
) -> list[LearnerOutcome]:
    """Every learner's outcome; when this is cancelled, or one fails fast, the others end."""
    names = {future: name for name, future in running.items()}
    waiting = set(names)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            failed = [f for f in done if not f.cancelled() and f.result().reason.startswith(FAILED)]
            if failed and run.experiment.parallel.on_failure == "fail_fast":
                _log.warning("%s failed: the other learners are stopped", names[failed[0]])
                for future in waiting:
                    future.cancel()
    finally:
        for future in waiting:
            future.cancel()
        if waiting:
            await asyncio.wait(waiting)
    stopped = f"{STOPPED}another learner failed"
    return [
        run.outcome(name, stopped) if future.cancelled() else future.result()
        for name, future in running.items()
    ]


async def run_one(run: ParallelRun, name: str, engine: Engine | None) -> LearnerOutcome:
    """Run one learner to its end, whatever that is."""
    reference = run.run_of(name)
    experiment = run.experiment.experiment(name, run.reference.run_id)
    experiment = experiment.model_copy(
        update={"driver": experiment.driver.model_copy(update={"root_log_dir": run.reference.root})}
    )
    cores = cores_of_each(run.experiment.parallel, at_once(run))
    channel = current_channel()
    context = LearnerContext(
        delivers=True, safe_point=None if channel is None else channel.of(name, reference)
    )
    try:
        if engine is None:
            summary = await run_deployed(run.experiment.parallel, experiment, reference)
        else:
            async with engine.host(name) as host:
                await host.make(use_at_most, cores)
                with hosted_by(host), surrounded_by(context):
                    summary = await active_learning(experiment, reference.run_id)
    except Exception as error:
        words = " ".join(str(error).split())[:500]
        _log.warning("learner %s failed, %s: %s", name, type(error).__name__, words)
        return await asyncio.to_thread(
            run.outcome, name, f"{FAILED}{type(error).__name__}: {words}"
        )
    return await asyncio.to_thread(run.outcome, name, summary.stop_reason)


async def report(summary: ParallelSummary, name: str) -> None:
    """The learners as a table, and the verdict as text."""
    key = "".join(c if c.isalnum() else "-" for c in summary.run_id.lower())
    await acreate_table_artifact(
        table=[_row(summary, outcome) for outcome in summary.learners],
        key=f"learners-{key}",
        description=f"Learners of {name}, parallel run {summary.run_id}",
    )
    await acreate_markdown_artifact(
        markdown=summary_markdown(summary, name),
        key=f"parallel-{key}",
        description=f"Verdict on {name}, parallel run {summary.run_id}",
    )


def _row(summary: ParallelSummary, outcome: LearnerOutcome) -> dict[str, Any]:
    last = outcome.last
    return {
        "learner": outcome.name,
        "run": outcome.run_id,
        "iterations": outcome.iterations,
        "labels": outcome.labels,
        summary.metric or "metric": "" if last is None else f"{last:.4g}",
        "shared labels": outcome.labels_shared,
        "ended": outcome.reason,
    }


def summary_markdown(summary: ParallelSummary, name: str) -> str:
    """The verdict in Markdown."""
    shared = sum(outcome.labels_shared for outcome in summary.learners)
    saved = sum(outcome.cost_saved for outcome in summary.learners)
    lines = [
        f"## {name}, parallel run {summary.run_id}: {summary.verdict}",
        f"- {summary.reason}",
        *(f"- {outcome.name}: {outcome.reason}" for outcome in summary.learners),
    ]
    if summary.best is not None:
        lines.append(f"- best: {summary.best} ({summary.best_reason})")
    if shared:
        lines.append(f"- labels that learners shared: {shared}, cost saved: {saved:g}")
    lines.append(f"- folder: `{summary.folder}`")
    return "\n".join(lines)
