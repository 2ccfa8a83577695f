"""Serves the deployments of Querist's flows: `querist serve`.

Flow runs that are triggered in the Prefect UI are carried out here, each in a process of its own,
whose steps are carried out in another one (`QUERIST_HOST=process`), so that a cancelled run stops
at once. Where runs are written and which tracker they use comes from the environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from querist.deployments import automations
from querist.deployments.checks import check_offer
from querist.deployments.offers import Offer, label_run_of, offers_of, without_collection
from querist.deployments.schedules import SLUG, schedule_of
from querist.deployments.served_flows import DESCRIPTIONS, TAG, served_flow
from querist.deployments.serving import Serving
from querist.deployments.zombies import HEARTBEAT_SECONDS, install_automation, reap
from querist.errors import ConfigurationError
from querist.runs.host import HOST_VARIABLE
from querist.tasks.events import LABELS_COLLECTED

REAP_EVERY_SECONDS = 30.0
OWN_EVENTS = ("querist.model", "prefect.flow-run", "prefect.task-run", "prefect.deployment")
"""Beginnings of events that a retraining causes."""
_log = get_logger("querist.serve")


def offers_and_schedule(serving: Serving) -> tuple[list[Offer], Schedule | None]:
    """What is asked for, as it is written.

    Raises:
        ConfigurationError: what is wrong, in one line.
    """
    serving.check()
    schedule = schedule_of(
        cron=serving.cron, every=serving.every, rrule=serving.rrule, timezone=serving.timezone
    )
    offers = offers_of(serving.files)
    if serving.on_event and not any(offer.retraining for offer in offers):
        raise ConfigurationError("--on-event runs retrainings: name the file of one")
    for event in serving.on_event:
        if fnmatchcase(LABELS_COLLECTED, event):
            raise ConfigurationError(
                f"--on-event {event} would collect labels on its own labels for ever: say "
                "--on-labels, which does not"
            )
        if event.startswith(OWN_EVENTS):
            raise ConfigurationError(
                f"--on-event {event} comes of retraining itself, which would trigger itself for "
                "ever: name an event of somebody else's"
            )
    if serving.on_labels and not any(label_run_of(offer) for offer in offers):
        raise ConfigurationError(
            "--on-labels waits for the labels of a run: name a retraining with `collect`, or with "
            "the source labeled_run"
        )
    return offers, schedule


async def serve(
    serving: Serving,
    *,
    limit: int,
    poll_seconds: float,
    ready: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve until SIGTERM or SIGINT; flow runs that are carried out are then cancelled.

    Args:
        serving: the files to serve, beside the flows themselves.
        limit: how many flow runs at once.
        poll_seconds: how often the server is asked for new flow runs.
        ready: a descriptor that is written to and closed when flow runs are taken.
        say: tells the user a line.

    Raises:
        ConfigurationError: what is asked for cannot be served.
    """
    offers, schedule = offers_and_schedule(serving)
    for offer in offers:
        check_offer(offer)
    os.environ.setdefault(HOST_VARIABLE, "process")
    runner = Runner(
        name="querist",
        limit=limit,
        query_seconds=poll_seconds,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        pause_on_shutdown=False,
    )
    served = await _register(runner, offers, schedule, serving)
    reaper = asyncio.create_task(_reap_for_ever(served))
    serving_task = asyncio.create_task(runner.start())
    while not runner.started and not serving_task.done():
        await asyncio.sleep(0.05)
    for number in (signal.SIGTERM, signal.SIGINT):  # after the runner has set its own
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: asyncio.ensure_future(_stop(runner))
        )
    for offer in offers:
        say(f"serves {offer.full_name}")
    say(f"serves {', '.join(DESCRIPTIONS)}; Ctrl-C ends it")
    if ready is not None:
        os.write(ready, b"ready\n")
        os.close(ready)
    try:
        await serving_task
    finally:
        reaper.cancel()


async def _register(
    runner: Runner, offers: Sequence[Offer], schedule: Schedule | None, serving: Serving
) -> list[UUID]:
    """Make the deployments and what belongs to them; returns the deployments."""
    async with get_client() as client:
        # The block first: when there is none, nothing is made.
        block = None if serving.notify is None else await _block(client, serving.notify)
        served = [await runner.aadd_deployment(await _of_flow(name)) for name in DESCRIPTIONS]
        for offer in offers:
            made = await _of_file(offer, schedule, serving.paused)
            deployment = await runner.aadd_deployment(made)
            served.append(deployment)
            await _tidy(client, offer, deployment, schedule, serving)
        await install_automation(client)
        if block is not None:
            wanted = automations.notify_of_failures(block, list(DESCRIPTIONS))
            await automations.install(client, wanted)
    return served


async def _of_flow(name: str) -> RunnerDeployment:
    """A flow under its own name, whose parameters are typed into the form."""
    flow = served_flow(name)
    return await flow.ato_deployment(
        name=name,
        description=DESCRIPTIONS[name],
        tags=[TAG],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _of_file(offer: Offer, schedule: Schedule | None, paused: bool) -> RunnerDeployment:
    """A file, whose settings fill the form."""
    return await served_flow(offer.flow).ato_deployment(
        name=offer.name,
        description=offer.description,
        tags=list(offer.tags),
        parameters=offer.parameters,
        schedules=None if schedule is None else [schedule],
        paused=paused,
        concurrency_limit=offer.concurrency,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _tidy(
    client: PrefectClient,
    offer: Offer,
    deployment: UUID,
    schedule: Schedule | None,
    serving: Serving,
) -> None:
    """Install a file's automations; what an earlier `querist serve` was asked for is removed."""
    if schedule is None:
        for found in await client.read_deployment_schedules(deployment):
            if found.slug == SLUG:
                await client.delete_deployment_schedule(deployment, found.id)
    if offer.retraining is not None:
        wanted = _automations(offer, deployment, serving)
        await automations.install_only(client, offer.full_name, wanted)


def _automations(offer: Offer, deployment: UUID, serving: Serving) -> list[AutomationCore]:
    wanted = []
    run_id = label_run_of(offer)
    if serving.on_labels and run_id is not None:
        # Labels have come: a retraining that asked for more of them would never come to rest.
        found = without_collection(offer)
        wanted.append(automations.run_on_labels(offer.full_name, deployment, run_id, found))
    for event in serving.on_event:
        wanted.append(automations.run_on_event(offer.full_name, deployment, event))
    return wanted


async def _block(client: PrefectClient, named: str) -> UUID:
    """The notification block of an id, or of `type/name`.

    Raises:
        ConfigurationError: there is none.
    """
    kind, slash, name = named.partition("/")
    try:
        if slash:
            return (await client.read_block_document_by_name(name, kind)).id
        return (await client.read_block_document(UUID(named))).id
    except (ObjectNotFound, ValueError) as error:
        raise ConfigurationError(
            f"--notify {named!r} is no block on this Prefect server: make one in its UI, and name "
            "its id, or its type and name as in slack-webhook/team"
        ) from error


async def _stop(runner: Runner) -> None:
    with suppress(RuntimeError):  # it was asked before
        await runner.astop()


async def _reap_for_ever(served: Sequence[UUID]) -> None:
    while True:
        try:
            async with get_client() as client:
                for deployment in served:
                    for flow_run in await reap(client, deployment):
                        _log.warning("flow run %s (%s) was gone", flow_run.name, flow_run.id)
        except Exception as error:  # the server may be away: flow runs are served all the same
            _log.warning("flow runs that are gone were not looked for: %s", error)
        await asyncio.sleep(REAP_EVERY_SECONDS)


if __name__ == "__main__":
    from querist.deployments.cli import main

    sys.argv[1:1] = ["serve"]
    main()
