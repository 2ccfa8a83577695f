"""What the Prefect UI shows of a run: progress, the learning curve, the summary."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from uuid import UUID

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from querist.phases.conclude import Summary
from querist.progress import LongTraining, Progress, training_words, watched_by
from querist.runs.records import read_metrology
from querist.training.watched import in_words

SECONDS_BETWEEN_UPDATES = 2.0
TRAININGS_SHARE = 0.9
"""How much of an iteration is done when its training is, as far as anybody can know before."""


class ProgressReport:
    """A progress artifact, updated in the background at a bounded rate.

    It moves while a long training goes on as well: steps tell of that in threads of their own.

    Args:
        name: what goes on.
        run_id: what it is called in its `Progress`.
        steps: how many iterations there are.
        first: the iteration at which nothing is done yet.
        always: whether there is an artifact though no training takes long.
    """

    def __init__(
        self, name: str, run_id: str, steps: int, first: int = 0, *, always: bool = True
    ) -> None:
        self._name = name
        self._run_id = run_id
        self._first = first
        self._steps = max(1, steps)
        self._always = always
        self._long = LongTraining()
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._ended = asyncio.Event()
        self._done = 0.0
        self._words = ""
        self._pending: asyncio.Task[None] | None = None
        self._watching = ExitStack()

    async def __aenter__(self) -> ProgressReport:
        self._loop, self._context = asyncio.get_running_loop(), copy_context()
        if self._always:
            await self._send(0.0, self._all_done)
        self._watching.enter_context(watched_by(self._hear))
        return self

    @property
    def _all_done(self) -> str:
        return f"{self._name}: {'iterations' if self._steps > 1 else 'training'} done"

    def update(self, iteration: int) -> None:
        """Report that `iteration` is done."""
        self._move(iteration + 1 - self._first, self._all_done)

    def _hear(self, progress: Progress) -> None:
        """In whatever thread a step is: pass on where its training is, if that takes long."""
        if progress.run_id == self._run_id and self._long.hears(progress):
            with suppress(RuntimeError):  # the flow was cancelled, and its loop is closed
                self._loop.call_soon_threadsafe(
                    self._show_training, progress, context=self._context
                )

    def _show_training(self, progress: Progress) -> None:
        done = progress.iteration - self._first + TRAININGS_SHARE * progress.epoch / progress.epochs
        where = f"epoch {progress.epoch} of {progress.epochs}, {training_words(progress)}"
        if progress.iterations > 1:
            where = f"iteration {progress.iteration + 1} of {progress.iterations}, {where}"
        self._move(done, f"{self._name}: {where}")

    def _move(self, done: float, words: str) -> None:
        """Show this as soon as the report before is old enough, or what comes until then."""
        self._done, self._words = max(self._done, done), words
        if self._pending is None or self._pending.done():
            self._pending = self._loop.create_task(self._send_in_time(), context=self._context)

    async def _send_in_time(self) -> None:
        wait = self._updated + SECONDS_BETWEEN_UPDATES - time.monotonic()
        if wait > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), wait)
        if not self._ended.is_set():
            self._updated = time.monotonic()
            await self._send(100 * self._done / self._steps, self._words)

    async def _send(self, percent: float, words: str) -> None:
        percent = min(percent, 100.0)
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, description=words)
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=words)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watching.close()
        self._ended.set()
        if self._pending is not None:
            await asyncio.gather(self._pending, return_exceptions=True)
        if error is None and self._artifact is not None:
            await self._send(100.0, self._all_done)


async def report_summary(name: str, summary: Summary) -> None:
    """The learning curve as a table, and the summary as text."""
    rows = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in r.items()}
        for r in read_metrology(Path(summary.folder))
    ]
    key = "".join(c if c.isalnum() else "-" for c in summary.run_id.lower())
    if rows:
        await acreate_table_artifact(
            table=rows,
            key=f"learning-curve-{key}",
            description=f"Learning curve of {name}, run {summary.run_id}",
        )
    await acreate_markdown_artifact(
        markdown=summary_markdown(name, summary),
        key=f"summary-{key}",
        description=f"Summary of {name}, run {summary.run_id}",
    )


def summary_markdown(name: str, summary: Summary) -> str:
    """The summary in Markdown."""
    lines = [
        f"## {name}, run {summary.run_id}",
        f"- stopped: {summary.stop_reason}",
        f"- iterations: {summary.iterations}",
        f"- labels: {summary.labels} ({summary.labels_bought} bought)",
    ]
    if summary.metric is not None and summary.first is not None and summary.last is not None:
        lines.append(f"- {summary.metric}: {summary.first:.3f} to {summary.last:.3f}")
    if training := in_words(summary.training):
        lines.append(f"- time of training: {training}")
    lines.append(f"- folder: `{summary.folder}`")
    return "\n".join(lines)
