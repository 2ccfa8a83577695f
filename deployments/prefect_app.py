"""The Prefect server app that `querist run` starts for itself.

It is Prefect's own app with one change: on SQLite, write transactions begin IMMEDIATE. As Prefect
begins them (DEFERRED), two writers at once make one of them fail with "database is locked", and the
client then sleeps for two seconds; begun IMMEDIATE, the second one waits for some milliseconds.

Run by uvicorn in a process of its own, which ends when the process that started it is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from querist.deployments.embedded_server import PARENT_VARIABLE


def create_app() -> FastAPI:
    """Prefect's app with immediate write transactions, watching over its parent process."""
    gc.disable()  # while half a million objects are made that stay
    from prefect.server.api.server import create_app as create_prefect_app

    _begin_immediate()
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    app = create_prefect_app()
    gc.freeze()
    gc.enable()
    return app


def _begin_immediate() -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_immediate(
        self: AioSqliteConfiguration, session: Any, with_for_update: bool = False
    ) -> AsyncGenerator[Any, None]:
        async with begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[method-assign]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
