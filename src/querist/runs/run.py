"""An open run: its configuration, its data, its learner, and its ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from querist.config.component import Component
from querist.config.experiment import Experiment
from querist.ledger import Ledger
from querist.pools.labeled import LabeledSet
from querist.progress import Progress, tell
from querist.protocols import Learner
from querist.queues import RequestQueue
from querist.runs.append_data import AppendData
from querist.runs.checkpoints import Checkpoints
from querist.runs.data import RunData
from querist.runs.label_source import LabelSource
from querist.runs.lock import RunLock
from querist.runs.records import ConsoleLog, DriverLog
from querist.runs.reference import RunReference
from querist.runs.schedules import scheduled
from querist.runs.steering import settings_asked, steered
from querist.runs.strategies import (
    Strategies,
    bind_to_run,
    build_label_source,
    is_same,
    rebuilt,
)
from querist.tracking.spool import TrackingSpool
from querist.values import IterationResult, Phase

KEPT_SETTINGS = 16
"""Iterations whose settings are kept; those of others are worked out anew."""


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
    _asked: dict[int, list[Mapping[str, Any]]] | None = None
    _in_force: tuple[Experiment, Strategies] | None = None
    _sources: dict[int, tuple[Component, LabelSource]] = field(default_factory=dict)
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
        if not self._changes:
            return self.experiment
        if iteration not in self._settings:
            history = self.history()[:iteration]
            settings = scheduled(self.experiment, self.strategies.schedules, iteration, history)
            asked = [
                one for since, all_of in self._taken().items() if since <= iteration
                for one in all_of
            ]  # fmt: skip
            if len(self._settings) == KEPT_SETTINGS:
                del self._settings[next(iter(self._settings))]
            self._settings[iteration] = steered(settings, asked)
        return self._settings[iteration]

    def _taken(self) -> dict[int, list[Mapping[str, Any]]]:
        """What people have asked for on the way, by the iteration from which on it holds."""
        if self._asked is None:
            self._asked = settings_asked(self.ledger)
        return self._asked

    def forget_settings(self) -> None:
        """Somebody has asked for other settings from the next iteration on."""
        self._asked = None
        self._settings.clear()

    @property
    def _changes(self) -> bool:
        """Whether settings are other ones in some iterations."""
        return bool(self.strategies.schedules or self._taken())

    def in_force(self, iteration: int) -> Strategies:
        """The strategies with the options of `iteration`; who labels is `label_source_of`."""
        if not self._changes:
            return self.strategies
        settings = self.settings(iteration)
        before, built = self._in_force or (self.experiment, self.strategies)
        strategies = rebuilt(built, before, settings)
        known = {id(strategy) for strategy in built.all()}
        bind_to_run((s for s in strategies.all() if id(s) not in known), self)
        self._in_force = settings, strategies
        return strategies

    def label_source_of(self, iteration: int) -> LabelSource:
        """Whom the labels that `iteration` wants are asked of.

        A source remembers what it still has to say, so there is one for the same options.
        """
        assert self.label_source is not None, "checked when the configuration was read"
        if not self._changes:
            return self.label_source
        if iteration not in self._sources:
            named, base = (
                self.settings(iteration).strategies.label,
                self.experiment.strategies.label,
            )
            assert named is not None
            assert base is not None
            known = [(base, self.label_source), *self._sources.values()]
            source = next((s for component, s in known if is_same(component, named)), None)
            if source is None:
                source = build_label_source(named)
                bind_to_run([source.strategy], self)
            self._sources[iteration] = named, source
        return self._sources[iteration][1]

    def label_sources(self, iterations: Collection[int]) -> list[LabelSource]:
        """Those of some iterations, and others that have something left to say.

        The rest is let go of: a long run may have another one in every iteration.
        """
        assert self.label_source is not None, "checked when the configuration was read"
        found = {id(source): source for source in map(self.label_source_of, iterations)}
        self._sources = {
            i: kept for i, kept in self._sources.items() if i in iterations or kept[1].late
        }
        others = (self.label_source, *(source for _, source in self._sources.values()))
        found |= {id(source): source for source in others if source.late}
        return list(found.values())

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

    def progress(self, iteration: int, phase: Phase | None, **more: Any) -> Progress:
        """Where the run is."""
        return Progress(
            run_id=self.reference.run_id,
            name=self.experiment.name,
            iteration=iteration,
            iterations=self.experiment.driver.max_active_learning_steps,
            phase=phase,
            **more,
        )

    def tell(self, iteration: int, phase: Phase | None, **more: Any) -> None:
        """Report progress to whoever watches."""
        tell(self.progress(iteration, phase, **more))

    @property
    def device(self) -> torch.device:
        """Where the learner computes."""
        return getattr(self.learner, "device", torch.device("cpu"))
