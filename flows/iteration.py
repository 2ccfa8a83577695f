"""One iteration of active learning: train, metrology, query, label."""

from __future__ import annotations

import asyncio

from prefect import flow

from querist import tasks
from querist.phases import commit_iteration, decide, pending_phases
from querist.runs import RunReference, open_run
from querist.tasks.train import start_training
from querist.values import Phase, StopDecision

TASKS = {
    Phase.TRAIN: tasks.train,
    Phase.METROLOGY: tasks.metrology,
    Phase.QUERY: tasks.query,
    Phase.LABEL: tasks.label,
}


@flow(
    name="iteration",
    description="One pass of train, metrology, query and label.",
    flow_run_name="{name} · iteration {iteration} · {labels} labels",
    validate_parameters=False,
    persist_result=False,
)
async def iteration(run: RunReference, iteration: int, name: str, labels: int) -> StopDecision:
    """Do what `iteration` still has before it, commit it, and say whether the run goes on.

    Args:
        run: the run.
        iteration: which iteration, from 0.
        name: the experiment's name, for people.
        labels: labeled samples at the start of the iteration, for people.
    """
    opened = open_run(run)
    for phase in await asyncio.to_thread(pending_phases, opened, iteration):
        await TASKS[phase](run, iteration)
    await asyncio.to_thread(commit_iteration, opened, iteration)
    decision = decide(opened, iteration)
    if not decision.stop:
        start_training(run, iteration + 1)
    return decision
