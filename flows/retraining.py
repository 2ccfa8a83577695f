"""Retraining of a registered model: pull, split, new version, train, evaluate, compare, promote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from querist import tasks
from querist.config.retraining import Retraining
from querist.config.tracking import TrackingConfig
from querist.errors import RunLockedError
from querist.flows.label_collection import label_collection
from querist.flows.reports import ProgressReport
from querist.flows.served import retraining_as_served
from querist.flows.tracked import end_told
from querist.lineage import LineageReference, version_folder
from querist.retraining.collect import iterations_wanted, label_run_is_busy
from querist.retraining.pull import take_turn
from querist.retraining.steps import let_go, untold
from querist.runs.host import HostDiedError, current_host
from querist.tracking.delivery import Delivery

BUSY_SECONDS = 1.0
"""Before the second look whether another retraining is over; twice as long each time, up to"""
LONGEST_BUSY_SECONDS = 30.0
"""this."""
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
    window = window or _scheduled_for()
    host, holder = current_host(), uuid4().hex
    model = LineageReference(model=settings.model, root=settings.root_log_dir)
    try:
        try:
            await _when_free(settings, lambda: host.make(take_turn, settings, window, holder))
            await _collect(settings, model, window)
        except RunLockedError as busy:
            if settings.busy == "wait":
                raise
            return _ended(RetrainingSummary(settings.model, "skipped", str(busy)))
        summary = await learn(settings, model, window)
    finally:
        with suppress(HostDiedError):  # then it has let go by that
            await host.make(let_go, model, True, holder)
    return _ended(summary)


async def _when_free(settings: Retraining, attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What `attempt` gives, once nobody else works on what it needs.

    Raises:
        RunLockedError: somebody does, and the settings say that nobody waits.
    """
    pause, told = BUSY_SECONDS, False
    while True:
        try:
            return await attempt()
        except RunLockedError as busy:
            if settings.busy == "skip":
                raise
            if not told:
                _log.info("%s: this retraining waits for it", busy)
                told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_BUSY_SECONDS)


async def _collect(settings: Retraining, model: LineageReference, window: str) -> None:
    """Ask for the labels of this window, as far as that was not done before."""
    collect = settings.collect
    if collect is None:
        return
    host = current_host()

    async def nobody_else() -> None:
        busy = await host.make(label_run_is_busy, model, collect.run_id)
        if busy is not None:
            raise RunLockedError(collect.run_id, busy)

    await _when_free(settings, nobody_else)
    wanted = await host.make(iterations_wanted, model, settings, window)
    if wanted:
        await label_collection(collect.experiment, collect.run_id, wanted)


async def learn(settings: Retraining, model: LineageReference, window: str) -> RetrainingSummary:
    """Make, measure and judge a new version, if there is something to learn."""
    pulled = await tasks.pull(model, settings, window)
    number = pulled.retraining
    if number is None:
        await end_delivery(await begin_delivery(model), settings)
        return RetrainingSummary(
            settings.model,
            "nothing new",
            pulled.reason,
            champion=pulled.champion,
            new_labels=pulled.new_labels,
            labeled=pulled.labeled,
        )
    folder = version_folder(model, number)
    with end_told(folder):
        await tasks.split(model, number)
        await tasks.new_version(model, number)
        name = model.version_name(number)
        async with ProgressReport(name, name, 1, always=False):
            await tasks.train_version(model, number)
        delivery = await begin_delivery(model)
        await tasks.evaluate(model, number)
        await tasks.compare(model, number)
        done = await tasks.promote(model, number)
    await end_delivery(delivery, settings)
    _log.info("%s: version %d is %s", settings.model, number, done["event"])
    return RetrainingSummary(
        settings.model,
        done["event"],
        done["reason"],
        version=number,
        champion=done["champion"],
        new_labels=pulled.new_labels,
        labeled=pulled.labeled,
        folder=str(folder),
    )


async def begin_delivery(model: LineageReference) -> Delivery | None:
    """Have the tracker hear of everything that it has not heard of, while the flow goes on."""
    folders = await current_host().make(untold, model)
    if not folders:
        return None
    delivery = Delivery(folders[-1], folders[:-1], called=model.model)
    delivery.start()
    return delivery


async def end_delivery(delivery: Delivery | None, settings: Retraining | None = None) -> None:
    """Wait until the tracker has heard of everything, as long as it listens."""
    drain = (TrackingConfig() if settings is None else settings.tracking).drain_seconds
    if delivery is not None:
        await asyncio.to_thread(delivery.wait, drain, answer_seconds=ANSWER_SECONDS)


def _scheduled_for() -> str:
    """When this flow run was to start: two that a schedule fires for one time have one window."""
    time: Any = flow_run.scheduled_start_time
    return "now" if time is None else str(time.isoformat(timespec="seconds"))


def _ended(summary: RetrainingSummary) -> State[RetrainingSummary]:
    return Completed(
        name=summary.outcome.capitalize(), message=summary.reason, data=summary
    )
