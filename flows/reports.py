"""What the Prefect UI shows of a run: progress, the learning curve, the summary."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import TracebackType
from uuid import UUID

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from querist.config import Experiment
from querist.phases.conclude import Summary
from querist.runs.records import read_metrology

SECONDS_BETWEEN_UPDATES = 2.0


class ProgressReport:
    """A progress artifact, updated in the background at a bounded rate.

    Args:
        experiment: what goes on.
        first: the iteration at which nothing is done yet.
        until: the iteration before which all is done. Default: the run's end.
    """

    def __init__(self, experiment: Experiment, first: int = 0, until: int | None = None) -> None:
        steps = experiment.driver.max_active_learning_steps
        self._name = experiment.name
        self._first = first
        self._steps = max(1, (steps if until is None else min(until, steps)) - first)
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._pending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ProgressReport:
        self._artifact = await acreate_progress_artifact(
            progress=0.0, description=f"{self._name}: iterations done"
        )
        return self

    def update(self, iteration: int) -> None:
        """Report that `iteration` is done, if the last report is old enough."""
        now = time.monotonic()
        busy = self._pending is not None and not self._pending.done()
        if busy or now - self._updated < SECONDS_BETWEEN_UPDATES:
            return
        self._updated = now
        done = iteration + 1 - self._first
        self._pending = asyncio.create_task(self._send(100 * done / self._steps))

    async def _send(self, percent: float) -> None:
        assert self._artifact is not None
        await aupdate_progress_artifact(artifact_id=self._artifact, progress=percent)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pending is not None:
            await asyncio.gather(self._pending, return_exceptions=True)
        if error is None:
            await self._send(100.0)


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
    lines.append(f"- folder: `{summary.folder}`")
    return "\n".join(lines)
