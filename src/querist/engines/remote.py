"""The far side of engines on clusters: carries out steps where it is, and says what goes on."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

from querist.progress import watched_by
from querist.runs.host import Step
from querist.runs.process_host import NOT_FOR_STEPS
from querist.runs.reference import RunReference
from querist.runs.served_steps import answer_of, portable_record

Said = tuple[str, Any]
"""`progress`, `log`, and at last `result` or `error`, with what it is."""


class RemoteSteps:
    """Carries out one learner's steps, one at a time. Lives in a process of the cluster.

    The process forgets the credentials of servers, if it has any: steps talk to none.
    """

    def __init__(self) -> None:
        for name in NOT_FOR_STEPS:
            os.environ.pop(name, None)

    def carry_out(
        self, run: RunReference | None, step: Step, args: tuple[Any, ...]
    ) -> Iterator[Said]:
        """What is said while `step` is carried out, as it is said."""
        said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        handler = _Says(said)
        logger = logging.getLogger("querist")

        def work() -> None:
            with watched_by(lambda progress: said.put(("progress", progress))):
                said.put(answer_of(run, step, args))

        logger.addHandler(handler)
        try:
            threading.Thread(target=work, name="querist-step", daemon=True).start()
            while True:
                kind, content = said.get()
                yield kind, content
                if kind in ("result", "error"):
                    return
        finally:
            logger.removeHandler(handler)

    def all_of(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> list[Said]:
        """The same at once, when the step is over."""
        return list(self.carry_out(run, step, args))


class _Says(logging.Handler):
    def __init__(self, said: queue.SimpleQueue[Said]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._said.put(("log", portable_record(record)))
        except Exception:
            self.handleError(record)
