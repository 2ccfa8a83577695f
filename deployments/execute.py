"""Running a flow from the command line: server, progress, and a clean end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from querist.deployments.embedded_server import EmbeddedServer, prefect_api

T = TypeVar("T")


def execute(start: Callable[[], Awaitable[T]], server: EmbeddedServer | None) -> T:
    """Run what `start` gives, and wait until Prefect has heard all of it."""
    with prefect_api(server):
        return _run(_and_report(start))


async def _and_report(start: Callable[[], Awaitable[T]]) -> T:
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    try:
        return await start()
    finally:
        # Task states travel as events: all of them must have left before the server ends.
        for flushed in (EventsWorker.drain_all(timeout=30), APILogHandler.aflush()):
            if flushed is not None:
                await flushed


def _run(main: Awaitable[T]) -> T:
    async def runner() -> T:
        return await main

    if sys.platform == "win32":
        return asyncio.run(runner())
    import uvloop

    return uvloop.run(runner())
