"""Running a flow from the command line: server, progress, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, TypeVar

from querist.deployments.embedded_server import EmbeddedServer, prefect_api
from querist.engines.processes import prepared
from querist.runs.host import hosted_by
from querist.runs.process_host import ForkedHost

T = TypeVar("T")


def execute(start: Callable[[], Awaitable[T]], server: EmbeddedServer | None) -> T:
    """Run what `start` gives, and wait until Prefect has heard all of it."""
    with prefect_api(server), _errors_told_once():
        gc.freeze()
        gc.enable()
        return _run(_and_report(start))


@contextmanager
def own_host() -> Iterator[None]:
    """Runs inside are carried out in a process of their own, where this system can fork.

    To be entered before Prefect is imported and before there are threads.
    """
    if sys.platform != "linux":
        yield
        return
    host = ForkedHost()
    try:
        with hosted_by(host):
            yield
    finally:
        host.stop()


@contextmanager
def own_hosts(number: int) -> Iterator[None]:
    """As `own_host`, for so many learners at once."""
    if sys.platform != "linux":
        yield
        return
    hosts = [ForkedHost() for _ in range(number)]
    try:
        with prepared(hosts):
            yield
    finally:
        for host in hosts:
            host.stop()


async def _and_report(start: Callable[[], Awaitable[T]]) -> T:
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    try:
        return await start()
    finally:
        # Task states travel as events: all of them must have left before the server ends.
        events = EventsWorker.drain_all(timeout=30)
        if inspect.isawaitable(events):
            await events
        await APILogHandler.aflush()


@contextmanager
def _errors_told_once() -> Iterator[None]:
    """Keep Prefect's engines off the terminal inside; the Prefect UI gets all that they say.

    An error goes through every engine between the step and us, each would print its traceback, and
    the command says what went wrong at its end.
    """
    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(_for_people)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_for_people)


def _for_people(record: logging.LogRecord) -> bool:
    engines = record.module in ("flow_engine", "task_engine") and record.name.startswith("prefect")
    draining = record.name == "EventsWorker" and record.levelno <= logging.WARNING
    return not engines and not draining


def _run(main: Awaitable[T]) -> T:
    async def runner() -> T:
        with _stopped_by_sigterm():
            return await main

    if sys.platform == "win32":
        return asyncio.run(runner())
    import uvloop

    return uvloop.run(runner())


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM does inside what Ctrl-C does: it cancels the flow, which ends the step it is in.

    Prefect's engine would set a handler of its own that raises, which uvloop swallows: the run
    would go on for ever.

    Raises:
        KeyboardInterrupt: the flow was cancelled so.
    """
    if sys.platform == "win32":
        yield
        return
    flow_engine: Any = import_module("prefect.flow_engine")
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    prefects, asked = flow_engine.capture_sigterm, False

    def stop() -> None:
        nonlocal asked
        asked = True
        if task is not None:
            task.cancel()

    flow_engine.capture_sigterm = nullcontext
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    except BaseException as error:
        if asked:
            raise KeyboardInterrupt from error
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        flow_engine.capture_sigterm = prefects
