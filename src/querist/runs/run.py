"""An open run: its configuration, its data, its learner, and its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from querist.config.experiment import Experiment
from querist.ledger import Ledger
from querist.pools.labeled import LabeledSet
from querist.progress import Progress, tell
from querist.protocols import (
    Gate,
    LabelStrategy,
    Learner,
    MetrologyStrategy,
    QueryStrategy,
    Schedule,
    StopCriterion,
)
from querist.queues import RequestQueue
from querist.runs.append_data import AppendData
from querist.runs.checkpoints import Checkpoints
from querist.runs.data import RunData
from querist.runs.label_source import LabelSource
from querist.runs.lock import RunLock
from querist.runs.records import ConsoleLog, DriverLog
from querist.runs.reference import RunReference
from querist.runs.schedules import scheduled
from querist.tracking.spool import TrackingSpool
from querist.values import IterationResult, Phase


@dataclass(frozen=True)
class Strategies:
    """The experiment's components, built."""

    query: Sequence[tuple[str, QueryStrategy]]
    label: LabelStrategy | None
    metrology: Sequence[MetrologyStrategy]
    stop: Sequence[StopCriterion]
    schedules: Sequence[tuple[str, Schedule]]
    gate: Gate | None


@dataclass
class Run:
    """An open run. Phases work on it; nothing else passes between them."""

    reference: RunReference
    experiment: Experiment
    ledger: Ledger
    data: RunData | AppendData
    learner: Learner
    strategies: Strategies
    label_source: LabelSource | None
    queue: RequestQueue
    checkpoints: Checkpoints
    spool: TrackingSpool
    log: DriverLog
    console: ConsoleLog
    lock: RunLock
    model_iteration: int | None = -1
    """After which iteration's training the learner is; -1 = first weights, None = unknown."""

    _labeled: dict[int, LabeledSet] = field(default_factory=dict)
    _settings: dict[int, Experiment] = field(default_factory=dict)
    _test_digest: str | None = None
    _truth_digest: str | None = None

    def labeled(self, iteration: int) -> LabeledSet:
        """What the model of `iteration` is trained on."""
        if iteration not in self._labeled:
            self._labeled.clear()
            self._labeled[iteration] = self.data.labeled(self.ledger, before_iteration=iteration)
        return self._labeled[iteration]

    def settings(self, iteration: int) -> Experiment:
        """The experiment with what the schedules say for `iteration` merged in.

        Raises:
            ConfigurationError: a schedule gave a key or value that the group refuses.
        """
        if not self.strategies.schedules:
            return self.experiment
        if iteration not in self._settings:
            history = self.history()[:iteration]
            self._settings[iteration] = scheduled(
                self.experiment, self.strategies.schedules, iteration, history
            )
        return self._settings[iteration]

    def history(self) -> list[IterationResult]:
        """All committed iterations, in order."""
        metrics = self.ledger.metrology()
        losses: dict[int, float] = {}
        seconds: dict[int, dict[str, float]] = {}
        labels: dict[int, int] = {}
        for iteration, phase, duration, outcome in self.ledger.phase_rows():
            seconds.setdefault(iteration, {})[phase.value] = duration
            if phase is Phase.TRAIN and outcome.get("train_loss") is not None:
                losses[iteration] = outcome["train_loss"]
        for row in self.ledger.commit_rows():
            labels[row.iteration] = row.labels
        spent = self.ledger.labels_spent_by_iteration()
        bought, cost = 0, 0.0
        results = []
        for i in sorted(labels):
            bought, cost = spent.get(i, (bought, cost))
            results.append(
                IterationResult(
                    iteration=i,
                    labels=labels[i],
                    metrics=metrics.get(i, {}),
                    train_loss=losses.get(i),
                    seconds=seconds.get(i, {}),
                    labels_bought=bought,
                    label_cost=cost,
                )
            )
        return results

    def test_digest(self) -> str:
        """SHA-256 of the test set."""
        if self._test_digest is None:
            self._test_digest = self.data.test_digest()
        return self._test_digest

    def truth_digest(self) -> str:
        """SHA-256 of what the pool knows of the truth."""
        if self._truth_digest is None:
            self._truth_digest = self.data.truth_digest()
        return self._truth_digest

    def tell(self, iteration: int, phase: Phase | None, **more: Any) -> None:
        """Report progress to whoever watches."""
        tell(
            Progress(
                run_id=self.reference.run_id,
                name=self.experiment.name,
                iteration=iteration,
                iterations=self.experiment.driver.max_active_learning_steps,
                phase=phase,
                **more,
            )
        )

    @property
    def device(self) -> torch.device:
        """Where the learner computes."""
        return getattr(self.learner, "device", torch.device("cpu"))
