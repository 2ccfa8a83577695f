"""The Prefect server app that `querist run` starts for itself.

It is Prefect's own app with two changes. On SQLite, write transactions begin IMMEDIATE. As Prefect
begins them (DEFERRED), two writers at once make one of them fail with "database is locked", and the
client then sleeps for two seconds; begun IMMEDIATE, the second one waits for some milliseconds.

With SQLAlchemy 2.1, the scheduler of Prefect 3.8 fails at every flow run that it makes, so that no
schedule would ever fire: it inserts rows with a `state`, which is no column. That key is passed
over, as SQLAlchemy 2.0 does.

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
    _insert_with_states()
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


def _insert_with_states() -> None:
    from prefect.server.database.orm_models import FlowRun

    state = FlowRun.__mapper__.all_orm_descriptors["state"]
    # Of SQLAlchemy 2.0 the attribute is unknown, and nobody there asks for it.
    if getattr(state, "bulk_dml_setter", None) is None:
        state.bulk_dml_setter = _pass_over  # type: ignore[attr-defined]


def _pass_over(cls: type, mapping: Any, value: Any) -> None:
    """Insert the other keys of `mapping`; the scheduler goes on with all of them."""


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
