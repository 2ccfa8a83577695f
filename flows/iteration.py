"""One iteration of active learning: train, metrology, query, label."""

from __future__ import annotations

from typing import Any

from prefect import Task, flow

from querist import tasks
from querist.flows.learner_context import learner_context
from querist.phases.finish import IterationEnd, decide_end, finish_iteration
from querist.phases.plan import pending_phases
from querist.runs import RunReference
from querist.runs.host import current_host
from querist.tasks.train import start_training, training_started
from querist.values import Phase

TASKS: dict[Phase, Task[[RunReference, int], Any]] = {
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
async def iteration(run: RunReference, iteration: int, name: str, labels: int) -> IterationEnd:
    """Do what `iteration` still has before it, commit it, and say whether the run goes on.

    Args:
        run: the run.
        iteration: which iteration, from 0.
        name: the experiment's name, for people.
        labels: labeled samples at the start of the iteration, for people.
    """
    host = current_host()
    if training_started(run, iteration):
        await tasks.train(run, iteration)  # when it is over, the plan leaves it out
    for phase in await host.call(run, pending_phases, iteration):
        await TASKS[phase](run, iteration)
    end: IterationEnd = await host.call(run, finish_iteration, iteration)
    safe_point = learner_context().safe_point
    if safe_point is not None and await safe_point(run, iteration, end):
        end = await host.call(run, decide_end, iteration)
    if not end.stop and Phase.TRAIN in await host.call(run, pending_phases, iteration + 1):
        start_training(run, iteration + 1)
    return end
