"""Parallel learners as a stream of states: for Python code that watches and steers them.

Each learner waits at the end of every iteration until its state was taken and the one who took it
comes back for the next one: whatever he asks for meanwhile holds from the next iteration on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from querist.config.parallel import ParallelExperiment
from querist.errors import UnknownNameError
from querist.flows.learner_context import SafePoint
from querist.phases.finish import IterationEnd
from querist.runs.host import current_host
from querist.runs.outcomes import ParallelSummary
from querist.runs.reference import RunReference
from querist.runs.run import Run
from querist.runs.steering import ask_to_set, ask_to_stop
from querist.values import IterationResult


@dataclass(frozen=True)
class LearnerState:
    """Where a learner is after an iteration.

    Attributes:
        learner: its name.
        run_id: its run.
        iteration: the iteration that has just been committed.
        metrics: what was measured in it.
        history: all iterations so far, the newest last.
        settings: the experiment as it was in force.
        reason: why the learner stops after this iteration; empty while it goes on.
    """

    learner: str
    run_id: str
    iteration: int
    metrics: Mapping[str, float]
    history: Sequence[IterationResult]
    settings: Mapping[str, Any]
    reason: str = ""


@dataclass(eq=False)
class _Told:
    """A state that was told, and whether whoever took it has come back."""

    state: LearnerState
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Channel:
    """Between the learners and the one who takes their states."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[_Told] = asyncio.Queue()
        self.closed = False
        self._open: set[_Told] = set()

    def of(self, learner: str, run: RunReference) -> SafePoint:
        """What a learner calls after each iteration."""

        async def safe_point(reference: RunReference, iteration: int, end: IterationEnd) -> bool:
            if self.closed:
                ask_to_stop(run.folder)
                return True
            made = await current_host().call(reference, state_of, learner, iteration, end.reason)
            if self.closed:  # meanwhile
                ask_to_stop(run.folder)
                return True
            told = _Told(made)
            self._open.add(told)
            await self._told.put(told)
            await told.taken.wait()
            self._open.discard(told)
            if self.closed:
                ask_to_stop(run.folder)
            return True

        return safe_point

    async def take(self) -> _Told:
        """The next state."""
        return await self._told.get()

    def close(self) -> None:
        """Nobody takes states any more: learners stop at their next safe point."""
        self.closed = True
        for told in self._open:
            told.taken.set()


_channel: ContextVar[Channel | None] = ContextVar("querist_channel", default=None)


def current_channel() -> Channel | None:
    """Where learners' states go; None when nobody takes them."""
    return _channel.get()


def state_of(run: Run, learner: str, iteration: int, reason: str) -> LearnerState:
    """A learner's state after an iteration."""
    history = run.history()
    return LearnerState(
        learner=learner,
        run_id=run.reference.run_id,
        iteration=iteration,
        metrics=history[iteration].metrics,
        history=history[: iteration + 1],
        settings=run.settings(iteration).model_dump(mode="json"),
        reason=reason,
    )


class Learners:
    """Parallel learners, from Python.

    Args:
        experiment: the learners.
        run_id: a name for the parallel run's folder, or the one to go on with.

    Attributes:
        summary: what they did, once the stream has ended.
    """

    def __init__(self, experiment: ParallelExperiment, run_id: str | None = None) -> None:
        self.experiment = experiment
        self.run_id = run_id or experiment.base.driver.run_id or secrets.token_hex(4)
        self.summary: ParallelSummary | None = None

    async def stream(self) -> AsyncIterator[LearnerState]:
        """Every learner's state after every iteration, as it comes.

        A learner waits until its state was taken and the next one is asked for. Whoever leaves the
        loop early stops all learners at their next safe point; with `contextlib.aclosing` around
        the stream that is waited for, as it is when `stop` is called and the loop goes on to its
        end.

        Raises:
            ParallelFailedError: `parallel.on_failure` is not met.
        """
        from querist.flows.parallel_learners import parallel_learners

        channel = Channel()
        before = _channel.set(channel)
        try:
            running = asyncio.ensure_future(parallel_learners(self.experiment, self.run_id))
        finally:
            _channel.reset(before)
        taking: asyncio.Future[_Told] | None = None
        try:
            while True:
                taking = asyncio.ensure_future(channel.take())
                await asyncio.wait({taking, running}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    break
                told = taking.result()
                yield told.state
                told.taken.set()
        finally:
            channel.close()
            if taking is not None:
                taking.cancel()
            with suppress(asyncio.CancelledError):
                # Of a degraded run the flow gives a state, and awaiting it what is in the state.
                self.summary = cast("ParallelSummary", await running)

    def set(self, learner: str, **settings: Any) -> None:
        """Change a learner's settings from its next iteration on.

        Args:
            learner: its name.
            **settings: by group, such as `training={"batch_size": 32}`.

        Raises:
            ConfigurationError: a setting that does not exist or cannot change on the way.
        """
        ask_to_set(self._folder(learner), settings)

    def stop(self, learner: str | None = None) -> None:
        """Stop one learner, or all, at the next safe point."""
        names = [one.name for one in self.experiment.learners] if learner is None else [learner]
        for name in names:
            ask_to_stop(self._folder(name), may_begin_later=True)

    def _folder(self, learner: str) -> Any:
        names = [one.name for one in self.experiment.learners]
        if learner not in names:
            raise UnknownNameError("learner", learner, names)
        root = self.experiment.base.driver.root_log_dir.absolute()
        return root / self.experiment.run_id(learner, self.run_id)
