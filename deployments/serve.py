"""Serves the deployments of Querist's flows: `python -m querist.deployments.serve`.

Flow runs that are triggered in the Prefect UI are carried out here, each in a process of its own,
whose steps are carried out in another one (`QUERIST_HOST=process`), so that a cancelled run stops
at once. Where runs are written and which tracker they use comes from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect import Flow, get_client
from prefect.logging import get_logger
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from querist.deployments.zombies import HEARTBEAT_SECONDS, install_automation, reap
from querist.flows import active_learning, parallel_learners
from querist.runs.host import HOST_VARIABLE

DESCRIPTIONS: dict[Flow[..., Any], str] = {
    active_learning: "Run an experiment; with the run_id of a run that exists, go on with it.",
    parallel_learners: "Run several learners side by side; with the run_id of a parallel run that "
    "exists, go on with what did not finish.",
}
"""What is served, each flow under its own name."""
REAP_EVERY_SECONDS = 30.0
_log = get_logger("querist.serve")


async def serve(*, limit: int, poll_seconds: float, ready: int | None) -> None:
    """Serve until SIGTERM or SIGINT; flow runs that are carried out are then cancelled.

    Args:
        limit: how many flow runs at once.
        poll_seconds: how often the server is asked for new flow runs.
        ready: a descriptor that is written to and closed when flow runs are taken.
    """
    os.environ.setdefault(HOST_VARIABLE, "process")
    runner = Runner(
        name="querist",
        limit=limit,
        query_seconds=poll_seconds,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        pause_on_shutdown=False,
    )
    served = []
    for flow, description in DESCRIPTIONS.items():
        deployment = await flow.ato_deployment(
            name=flow.name,
            description=description,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        served.append(await runner.aadd_deployment(deployment))
    async with get_client() as client:
        await install_automation(client)
    reaper = asyncio.create_task(_reap_for_ever(served))
    serving = asyncio.create_task(runner.start())
    while not runner.started and not serving.done():
        await asyncio.sleep(0.05)
    for number in (signal.SIGTERM, signal.SIGINT):  # after the runner has set its own
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: asyncio.ensure_future(_stop(runner))
        )
    if ready is not None:
        os.write(ready, b"ready\n")
        os.close(ready)
    try:
        await serving
    finally:
        reaper.cancel()


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m querist.deployments.serve`."""
    parser = argparse.ArgumentParser(
        prog="python -m querist.deployments.serve",
        description="Serve the deployments of Querist to the Prefect server that is set.",
    )
    parser.add_argument("--limit", type=int, default=4, help="flow runs at once")
    parser.add_argument(
        "--poll", type=float, default=5.0, help="seconds between looks for new ones"
    )
    parser.add_argument(
        "--ready", type=int, help="descriptor that is told when flow runs are taken"
    )
    options = parser.parse_args(arguments)
    asyncio.run(serve(limit=options.limit, poll_seconds=options.poll, ready=options.ready))
    return 0


if __name__ == "__main__":
    sys.exit(main())
