"""A whole run in this process, by plain calls of the phases, with a word before each of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from querist import phases
from querist.config.load import load_experiment, merge
from querist.phases.begin import begin
from querist.phases.conclude import conclude
from querist.phases.finish import finish_iteration
from querist.phases.plan import pending_phases
from querist.runs import RunReference, close_run, open_run
from querist.tracking.spool import TrackingSpool
from tests.shared.killed import EXPERIMENT, Outcome, outcome

STEPS = ("create", "train", "metrology", "query", "label", "commit", "conclude")
Before = Callable[[str, int], None]


@dataclass(frozen=True)
class Place:
    """A folder in which one run is driven, with the books of whoever sells its labels beside it.

    Attributes:
        folder: where its experiment and its runs are.
        books: what was billed, on another disk.
    """

    folder: Path
    books: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "active_learning_logs" / "run"

    @property
    def billed(self) -> list[str]:
        """The keys that were billed."""
        return self.books.read_text().splitlines() if self.books.exists() else []

    def write(self, **changes: Any) -> None:
        """Write the experiment, with groups changed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(merge(EXPERIMENT, changes))
        (self.folder / "experiment.yaml").write_text(text)

    def drive(self, before: Before = lambda step, iteration: None) -> None:
        """Do what is left of the run, and close it.

        Args:
            before: called with a step's name and the iteration, before the step is done.
        """
        reference = RunReference(run_id="run", root=self.folder / "active_learning_logs")
        with contextlib.chdir(self.folder):
            try:
                before("create", -1)
                self._go(before)
            finally:
                close_run(reference)

    def _go(self, before: Before) -> None:
        start = begin(load_experiment(self.folder / "experiment.yaml"), "run")
        run = open_run(start.run)
        iteration, stopped = start.iteration, start.stopped
        while not stopped:
            for phase in pending_phases(run, iteration):
                before(phase.value, iteration)
                getattr(phases, phase.value)(run, iteration)
            before("commit", iteration)
            stopped = finish_iteration(run, iteration).stop
            iteration += 1
        before("conclude", iteration)
        conclude(run)

    def end(self) -> tuple[Outcome, list[str]]:
        """What may not depend on what went wrong meanwhile, with what the tracker is told."""
        told = [
            event.once or f"{event.kind} {json.dumps(event.payload.get('status'))}"
            for event in TrackingSpool(self.run).events()
        ]
        # A summary tells how long it took.
        return outcome(self.run), sorted(t for t in told if "summary.json" not in t)
