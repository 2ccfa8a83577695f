"""What a person sees while a run goes on, and at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from querist.flows.comparison import ComparisonResult
from querist.phases.conclude import Summary
from querist.progress import LongTraining, training_words, watched_by
from querist.progress import Progress as RunProgress
from querist.runs.outcomes import ParallelSummary
from querist.training.watched import in_words

LINE_SECONDS = 5.0
"""Where the output is no terminal, a line is printed this often at most."""


class Watch:
    """Turns a run's progress into a bar, or into lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._runs: dict[str, _Seen] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress of runs in this process."""
        if not self._console.is_terminal:
            with watched_by(self._line):
                yield
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as self._bar, watched_by(self._move):
            try:
                yield
            finally:
                for seen in self._runs.values():
                    if seen.epochs is not None:
                        self._bar.update(seen.epochs, visible=False)

    def _outlook(self, console: Console, seen: _Seen, progress: RunProgress) -> None:
        """Say what the stop criteria say, not too often."""
        now = time.monotonic()
        if now - seen.said >= LINE_SECONDS:
            seen.said = now
            where = f"{progress.name}: iteration {progress.iteration + 1}"
            text = f"{where}: {progress.outlook}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _seen(self, progress: RunProgress) -> _Seen:
        return self._runs.setdefault(progress.run_id, _Seen(progress.iteration))

    def _move(self, progress: RunProgress) -> None:
        assert self._bar is not None
        seen = self._seen(progress)
        if progress.outlook:
            self._outlook(self._bar.console, seen, progress)
        seen.update(progress)
        if seen.task is None:
            seen.task = self._bar.add_task(progress.name, total=progress.iterations, now="")
        self._bar.update(seen.task, completed=seen.done, now=seen.words(progress))
        if seen.in_long_training and seen.epochs is None:
            seen.epochs = self._bar.add_task("  epochs", total=progress.epochs, now="")
        if seen.epochs is not None and progress.epochs:  # it stays, shorter trainings included
            if seen.iteration != progress.iteration:
                seen.iteration = progress.iteration
                self._bar.reset(seen.epochs, total=progress.epochs)
            now = training_words(progress).ljust(seen.widest)
            seen.widest = len(now)  # else the bar would jump with every digit
            self._bar.update(seen.epochs, completed=progress.epoch, now=now)

    def _line(self, progress: RunProgress) -> None:
        seen = self._seen(progress)
        if progress.outlook:  # of an iteration that has had its line
            self._outlook(self._console, seen, progress)
            return
        seen.update(progress)
        last = progress.phase is None and progress.iteration + 1 >= progress.iterations
        now = time.monotonic()
        if last or now - seen.printed >= LINE_SECONDS:
            seen.printed = now
            at = f"{progress.name}: iteration {progress.iteration + 1} of {progress.iterations}"
            if seen.in_long_training:
                at += f", epoch {progress.epoch} of {progress.epochs}, {training_words(progress)}"
            self._console.print(f"{at}, {seen.words(progress)}", highlight=False, soft_wrap=True)


class _Seen:
    """What was seen of one run so far."""

    def __init__(self, first_iteration: int) -> None:
        self.started = time.monotonic()
        self.first = first_iteration
        self.done = first_iteration
        self.loss: float | None = None
        self.metrics: dict[str, float] = {}
        self.printed = -LINE_SECONDS
        self.said = -LINE_SECONDS
        self.task: TaskID | None = None
        self.epochs: TaskID | None = None
        self.iteration = -1
        self.widest = 0
        self.in_long_training = False
        self._long = LongTraining(time.monotonic)

    def update(self, progress: RunProgress) -> None:
        self.in_long_training = self._long.hears(progress)
        self.loss = progress.loss if progress.loss is not None else self.loss
        self.metrics = dict(progress.metrics) or self.metrics
        self.done = progress.iteration + (progress.phase is None)

    def words(self, progress: RunProgress) -> str:
        parts = [f"{progress.labels} labels"]
        if self.loss is not None and not self.in_long_training:  # where its epochs are, it is too
            parts.append(f"loss {self.loss:.3f}")
        shown = ["f1"] if "f1" in self.metrics else list(self.metrics)[:2]
        parts += [f"{'F1' if name == 'f1' else name} {self.metrics[name]:.3f}" for name in shown]
        fresh = self.done - self.first
        if fresh > 0 and self.done < progress.iterations:
            each = (time.monotonic() - self.started) / fresh
            parts.append(f"{_duration(each * (progress.iterations - self.done))} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def show_summary(
    console: Console, summary: Summary, seconds: float, *, tracking: str | None, whole: bool
) -> None:
    """Print what a run did, where the time went, and how to look at it.

    Args:
        console: where to print.
        summary: the run's summary.
        seconds: the command's own time.
        tracking: the MLflow tracking URI; None without tracking.
        whole: whether the command did all of the run, so that the rest of its time is known.
    """
    rows: list[tuple[str, str]] = []
    rows.append(("run", f"{summary.run_id} ({summary.stop_reason})"))
    if summary.metric is not None and summary.first is not None and summary.last is not None:
        name = "F1" if summary.metric == "f1" else summary.metric
        rows.append((name, f"{summary.first:.3f} at first, {summary.last:.3f} at last"))
    initial = summary.labels - summary.labels_bought
    rows.append(
        ("labels", f"{summary.labels} ({initial} at the start, {summary.labels_bought} bought)")
    )
    phases = ", ".join(f"{name} {_short(spent)}" for name, spent in summary.seconds.items())
    rest = f", all else {_short(seconds - sum(summary.seconds.values()))}" if whole else ""
    rows.append(
        ("time", f"{_short(seconds)}; {'' if whole else 'over the whole run '}{phases}{rest}")
    )
    if training := in_words(summary.training):
        rows.append(("training", training))
    rows.append(("folder", summary.folder))
    server = f"{_tool('prefect')} server start   (then open the address that it prints)"
    rows.append(("Prefect UI", server))
    if tracking is not None:
        rows.append(("MLflow UI", f"{_tool('mlflow')} ui --backend-store-uri {tracking}"))
    console.print()
    for name, text in rows:
        # No table: it would break or cut off what is to be copied.
        console.print(f"{name:<10}  {text}", highlight=False, markup=False, soft_wrap=True)


def _tool(name: str) -> str:
    """A command of the environment that runs us, as it can be typed in the working directory."""
    path = Path(sys.executable).parent / name
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def show_comparison(console: Console, result: ComparisonResult, seconds: float) -> None:
    """Print the variants with their spread, and the labels that are saved."""
    name = "F1" if result.metric == "f1" else result.metric
    seeds = len(result.variants[0].curves)
    table = Table("variant", f"{name} at the end", f"mean {name} over the iterations", "labels")
    for v in result.variants:
        ends = {curve[-1][0] for curve in v.curves}
        table.add_row(
            v.name,
            f"{v.last:.3f} ± {v.last_spread:.3f}",
            f"{v.average:.3f} ± {v.average_spread:.3f}",
            ", ".join(map(str, sorted(ends))),
        )
    console.print()
    console.print(f"{seeds} seeds, mean ± standard deviation")
    console.print(table)
    for saving in result.savings:
        more = "saves" if saving.saved >= 0 else "costs"
        console.print(
            f"at {name} {saving.level:.3f}, {saving.variant} needs {saving.needed} labels, "
            f"{result.baseline} {saving.baseline_needed}: {more} {abs(saving.saved)} labels"
        )
    console.print(f"figure: {result.folder}/comparison.png   ({_short(seconds)})", soft_wrap=True)


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else _duration(seconds)


def show_parallel(console: Console, summary: ParallelSummary, seconds: float) -> None:
    """Print how every learner ended, the verdict, and the best one."""
    name = "F1" if summary.metric == "f1" else summary.metric or "metric"
    table = Table("learner", "iterations", "labels", f"{name} at the end", "ended")
    for outcome in summary.learners:
        last = "" if outcome.last is None else f"{outcome.last:.4g}"
        row = (outcome.name, str(outcome.iterations), str(outcome.labels), last, outcome.reason)
        table.add_row(*map(escape, row))
    console.print()
    console.print(table)
    rows = [("run", f"{summary.run_id}: {summary.verdict} ({summary.reason})")]
    if summary.best is not None:
        rows.append(("best", f"{summary.best} ({summary.best_reason})"))
    shared = sum(outcome.labels_shared for outcome in summary.learners)
    if shared:
        saved = sum(outcome.cost_saved for outcome in summary.learners)
        rows.append(
            ("shared", f"{shared} labels that another learner had bought ({saved:g} saved)")
        )
    rows.append(("time", _short(seconds)))
    rows.append(("folder", summary.folder))
    for key, text in rows:
        console.print(f"{key:<10}  {text}", highlight=False, markup=False, soft_wrap=True)
