"""A training that is watched: its curve, its throughput, and where its time went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from querist.pools.labeled import LabeledSet
from querist.progress import Progress, rate_in_words, tell
from querist.protocols import Learner
from querist.training.curve import PartialWithCurve, Row, TrainingCurve
from querist.training.job import EpochReport, TrainingJob, TrainingReport

PARTS = ("data", "forward", "backward", "optimizer", "validation", "checkpoint", "capture")
"""The parts of a training's time, in the order in which people read them."""
CHECKPOINT = "checkpoint"
MEGABYTE = 10**6
TOLD_SECONDS = 0.1
CALM_SECONDS = 2.0
"""Throughput that is told is the mean over so long: that of single epochs jumps."""


class EpochsTold:
    """Tells whoever watches how a training goes on: at most ten times a second, and at its end.

    Args:
        progress: what goes on, without epochs.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = 0.0
        self._each: list[float] = []
        self._lately: deque[tuple[float, list[float]]] = deque()

    def __call__(self, report: EpochReport) -> None:
        """An epoch is done."""
        now = time.monotonic()
        if report.samples_per_second:
            self._each.append(1 / report.samples_per_second)
        if now - self._told < TOLD_SECONDS and report.epoch < report.epochs:
            return
        self._told = now
        tell(
            replace(
                self._progress,
                epoch=report.epoch,
                epochs=report.epochs,
                loss=report.train_loss,
                validation_loss=report.validation_loss,
                samples_per_second=self._rate(now),
            )
        )

    def _rate(self, now: float) -> float | None:
        """Samples a second of late; None where nobody measured. All epochs have as many."""
        if self._each:
            self._lately.append((now, self._each))
            self._each = []
        while len(self._lately) > 1 and now - self._lately[0][0] > CALM_SECONDS:
            self._lately.popleft()
        seconds = [each for _, epochs in self._lately for each in epochs]
        return len(seconds) / sum(seconds) if seconds else None


@dataclass(frozen=True)
class Fitted:
    """A training that was watched.

    Attributes:
        report: what the learner says of it.
        curve: the points of its curve.
        samples_per_second: over the wall time of the epochs that were trained now; None where
            nobody counts samples.
    """

    report: TrainingReport
    curve: list[Row]
    samples_per_second: float | None

    def outcome(self, *, labels: int, saving: float) -> dict[str, Any]:
        """What the ledger keeps of it.

        Args:
            labels: what it learned from.
            saving: seconds that the checkpoint took which was written afterwards.
        """
        report = self.report
        seconds = dict(report.seconds)
        seconds[CHECKPOINT] = seconds.get(CHECKPOINT, 0.0) + saving
        return {
            "labels": labels,
            "epochs": report.epochs,
            "steps": report.steps,
            "train_loss": report.train_loss,
            "validation_loss": report.validation_loss,
            "stopped_early": report.stopped_early,
            "samples": report.samples,
            "samples_per_second": self.samples_per_second,
            "seconds": {part: round(spent, 6) for part, spent in seconds.items()},
            "device_memory": report.device_memory,
            "captured": report.captured,
        }


def fit_watched(
    learner: Learner,
    labeled: LabeledSet,
    job: TrainingJob,
    *,
    points: int,
    on_point: Callable[[Row], None] = lambda row: None,
) -> Fitted:
    """Fit the learner, and see what happens.

    Args:
        learner: the model of the iteration before.
        labeled: what it learns from.
        job: how.
        points: how many points its curve has at most; 0 = it has none.
        on_point: called with each point that is one whatever comes next.
    """
    curve = TrainingCurve(points)
    here = 0

    def on_epoch(report: EpochReport) -> None:
        nonlocal here
        here += 1
        point = curve.add(report)
        if point is not None:
            on_point(point)
        job.on_epoch(report)

    partial = job.partial
    if partial is not None and points:
        partial = PartialWithCurve(partial, curve)
    began = time.monotonic()
    report = learner.fit(labeled, replace(job, partial=partial, on_epoch=on_epoch))
    seconds = time.monotonic() - began
    # A training that went on after a kill counts the samples of all its epochs.
    samples = report.samples * min(1.0, here / report.epochs) if report.epochs else 0.0
    return Fitted(report, curve.rows, samples / seconds if samples and seconds > 0 else None)


@dataclass(frozen=True)
class Spent:
    """Where the time of trainings went, and what they did in it.

    Attributes:
        whole: seconds of all of it, what no part accounts for included.
        seconds: by part.
        samples: that were learned from, repeats counted.
        samples_per_second: over all trainings; None where nobody counted samples.
        device_memory: most bytes that the device held; None on the CPU.
    """

    whole: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    samples_per_second: float | None = None
    device_memory: int | None = None


def spent_on(trainings: Iterable[tuple[float, Mapping[str, Any]]]) -> Spent:
    """The sum over trainings.

    Args:
        trainings: seconds of each, and what the ledger keeps of it.
    """
    seconds: dict[str, float] = {}
    whole, samples, counted, fitting = 0.0, 0, 0, 0.0
    memory: int | None = None
    for took, outcome in trainings:
        whole += took
        for part, spent in (outcome.get("seconds") or {}).items():
            seconds[part] = seconds.get(part, 0.0) + spent
        learned, rate = outcome.get("samples") or 0, outcome.get("samples_per_second")
        samples += learned
        if rate:
            counted, fitting = counted + learned, fitting + learned / rate
        held = outcome.get("device_memory")
        memory = held if memory is None else max(memory, held or 0)
    known = [*PARTS, *(part for part in seconds if part not in PARTS)]
    return Spent(
        whole,
        {part: round(seconds[part], 6) for part in known if part in seconds},
        samples,
        counted / fitting if fitting else None,
        memory,
    )


def in_words(spent: Spent) -> str:
    """Where the time of training went, in one line; empty where nobody measured."""
    words = []
    parts = dict(spent.seconds)
    measured = sum(parts.values())
    whole = max(spent.whole, measured)
    if parts.keys() - {CHECKPOINT} and whole > 0:
        shares = {k: 100 * v / whole for k, v in {**parts, "other": whole - measured}.items()}
        words.append(", ".join(f"{k} {v:.0f} %" for k, v in shares.items() if v >= 0.5))
    if spent.samples_per_second is not None:
        words.append(f"{rate_in_words(spent.samples_per_second)} samples/s")
    if spent.device_memory is not None:
        words.append(f"{spent.device_memory / MEGABYTE:,.0f} MB on the device")
    return "; ".join(words)
