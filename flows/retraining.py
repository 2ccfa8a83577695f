"""Retraining of a registered model: pull, split, new version, train, evaluate, compare, promote."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from querist import tasks
from querist.config.retraining import Retraining
from querist.errors import RunLockedError
from querist.flows.label_collection import label_collection
from querist.flows.served import retraining_as_served
from querist.lineage import LineageReference
from querist.retraining.pull import Pulled
from querist.retraining.steps import let_go, untold
from querist.runs.host import current_host
from querist.tracking.delivery import Delivery

BUSY_SECONDS = 1.0
"""Between two looks whether another retraining is over."""
ANSWER_SECONDS = 20.0
"""Whoever sees a retraining end looks into the registry: a busy tracker gets time to answer."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrainingSummary:
    """What a retraining did.

    Attributes:
        model: the registered model.
        outcome: `promoted`, `discarded`, `nothing new`, or `skipped`.
        reason: why, in words.
        version: the version that it made; None when it made none.
        champion: the version that is champion now; None while there is none.
        new_labels: labels that no retraining had learned from.
        labeled: labeled items.
        folder: where everything of the version is; None without one.
    """

    model: str
    outcome: str
    reason: str
    version: int | None = None
    champion: int | None = None
    new_labels: int = 0
    labeled: int = 0
    folder: str | None = None


@flow(
    name="retraining",
    description="Learn what was labeled since the last time; promote the model if it is better.",
    flow_run_name="{settings.model}",
    persist_result=False,
)
async def retraining(
    settings: Retraining, window: str | None = None
) -> State[RetrainingSummary] | RetrainingSummary:
    """Retrain a registered model; does nothing when there is nothing new to learn.

    Args:
        settings: the model, what it learns from, and when its champion changes.
        window: a name for this opportunity to learn: the same is not learned twice in one window.
            Default: the time that this flow run was scheduled for.
    """
    settings = retraining_as_served(settings)
    if settings.collect is not None:
        collect = settings.collect
        await label_collection(collect.experiment, collect.run_id, collect.iterations)
    try:
        pulled = await _pull_in_turn(settings, window or _scheduled_for())
    except RunLockedError as busy:
        if settings.busy == "wait":
            raise
        return _ended(RetrainingSummary(settings.model, "skipped", str(busy)))
    try:
        summary = await learn(settings, pulled)
    finally:
        await current_host().make(let_go, pulled.lineage, True)
    return _ended(summary)


async def _pull_in_turn(settings: Retraining, window: str) -> Pulled:
    """What there is to learn, when no other retraining of the model goes on.

    Raises:
        RunLockedError: another one goes on, and the settings say that nobody waits.
    """
    told = False
    while True:
        try:
            return await tasks.pull(settings, window)
        except RunLockedError as busy:
            if settings.busy == "skip":
                raise
            if not told:
                _log.info("%s: this retraining waits for it", busy)
                told = True
            await asyncio.sleep(BUSY_SECONDS)


async def learn(settings: Retraining, pulled: Pulled) -> RetrainingSummary:
    """Make, measure and judge a new version, if there is something to learn."""
    if pulled.retraining is None:
        return RetrainingSummary(
            settings.model,
            "nothing new",
            pulled.reason,
            champion=pulled.champion,
            new_labels=pulled.new_labels,
            labeled=pulled.labeled,
        )
    model, number = pulled.lineage, pulled.retraining
    await tasks.split(model, number)
    made = await tasks.new_version(model, number)
    await tasks.train_version(model, number)
    await tasks.evaluate(model, number)
    await tasks.compare(model, number)
    done = await tasks.promote(model, number)
    await deliver(settings, model)
    _log.info("%s: version %s is %s", settings.model, made["version"], done["event"])
    return RetrainingSummary(
        settings.model,
        done["event"],
        done["reason"],
        version=number,
        champion=done["champion"],
        new_labels=pulled.new_labels,
        labeled=pulled.labeled,
        folder=str(model.folder / "versions" / f"{number:04d}"),
    )


async def deliver(settings: Retraining, model: LineageReference) -> None:
    """Have the tracker hear of everything that it has not heard of, as long as it listens."""
    if not settings.tracking.enabled:
        return
    folders = await current_host().make(untold, model)
    if folders:
        delivery = Delivery(folders[-1], folders[:-1], called=settings.model)
        delivery.start()
        drain = settings.tracking.drain_seconds
        await asyncio.to_thread(delivery.wait, drain, answer_seconds=ANSWER_SECONDS)


def _scheduled_for() -> str:
    """When this flow run was to start: two that a schedule fires for one time have one window."""
    time: Any = flow_run.scheduled_start_time
    return "now" if time is None else str(time.isoformat(timespec="seconds"))


def _ended(summary: RetrainingSummary) -> State[RetrainingSummary]:
    return Completed(
        name=summary.outcome.capitalize(), message=summary.reason, data=summary
    )
