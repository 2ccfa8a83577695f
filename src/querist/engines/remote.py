"""What engines on clusters share: the host here, and what carries out its steps there."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from querist.commands.environment import NOT_FOR_STEPS
from querist.progress import watched_by
from querist.runs.host import HostDiedError, Step
from querist.runs.open import close_run
from querist.runs.reference import RunReference
from querist.runs.served_steps import answer_of, portable_record

Said = tuple[str, Any]
"""`progress`, `log`, and at last `result` or `error`, with what it is."""


class RemoteHost:
    """Carries out a learner's steps in an actor of a cluster.

    Args:
        kind: what the actor is, for messages.
        learner: whose steps they are.
    """

    def __init__(self, kind: str, learner: str) -> None:
        self._who = f"the {kind} of {learner}"

    async def make(self, step: Step, *args: Any) -> Any:
        """Call `step(*args)` in the actor."""
        return await self._ask(None, step, args)

    async def call(self, run: RunReference, step: Step, *args: Any) -> Any:
        """Call `step(run, *args)` in the actor."""
        return await self._ask(run, step, args)

    async def release(self, run: RunReference) -> None:
        """Close the run; nothing to do when the actor is gone."""
        with suppress(HostDiedError):
            await self._ask(None, close_run, (run,))

    async def _ask(self, run: RunReference | None, step: Step, args: tuple[Any, ...]) -> Any:
        raise NotImplementedError

    def _died(self, why: object) -> HostDiedError:
        words = " ".join(str(why).split())[:300]
        return HostDiedError(
            f"{self._who} ended, {words}: `querist resume` goes on where the run stands"
        )


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
