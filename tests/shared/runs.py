"""Small runs on two moons, driven by plain calls of the phases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist import phases, registry
from querist.config.load import build_experiment, merge
from querist.registry import Registered
from querist.runs import Run, RunReference, close_run, create_run, open_run
from querist.values import Phase, StopDecision

PHASES = {
    Phase.TRAIN: phases.train,
    Phase.METROLOGY: phases.metrology,
    Phase.QUERY: phases.query,
    Phase.LABEL: phases.label,
}
BASE: dict[str, Any] = {
    "name": "small",
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 60}},
        "initial": {"count": 10, "stratify": True},
    },
    "learner": {"name": "examples.two_moons.model:MoonClassifier", "options": {"hidden": 4}},
    "training": {"max_training_epochs": 2, "optimizer": {"name": "SGD", "options": {"lr": 0.1}}},
    "strategies": {
        "query": {"name": "margin", "n": 5},
        "label": "oracle",
        "label_backoff_seconds": 0,
        "metrology": "f1",
    },
    "driver": {"max_active_learning_steps": 3},
    "tracking": {"enabled": False},
}


@pytest.fixture
def component(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Registers a component for the test only; returns its name."""
    registry.components()
    numbers = itertools.count()

    def add(kind: str, factory: Callable[..., Any]) -> str:
        name = f"test_{next(numbers)}"
        monkeypatch.setitem(registry._components[kind], name, Registered(kind, name, factory))
        return name

    return add


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Any]:
    """The base experiment with `group={...}` merged in."""

    def make(**changes: Any) -> Any:
        content = merge(merge(BASE, {"driver": {"root_log_dir": str(tmp_path / "runs")}}), changes)
        return build_experiment(content)

    return make


@pytest.fixture
def new_run(experiment: Callable[..., Any]) -> Iterator[Callable[..., Run]]:
    """Makes runs, and closes them after the test."""
    made: list[RunReference] = []

    def make(run_id: str | None = None, **changes: Any) -> Run:
        run = create_run(experiment(**changes), run_id)
        made.append(run.reference)
        return run

    yield make
    for reference in made:
        close_run(reference)


def reopened(run: Run) -> Run:
    """The same run as another process would find it."""
    close_run(run.reference)
    return open_run(run.reference)


def iterate(run: Run, iteration: int) -> StopDecision:
    """One iteration, going on from where it was stopped."""
    for phase in phases.pending_phases(run, iteration):
        PHASES[phase](run, iteration)
    phases.commit_iteration(run, iteration)
    return phases.decide(run, iteration)


def finish(run: Run) -> StopDecision:
    """All iterations that are left."""
    while not (decision := iterate(run, run.ledger.next_iteration())).stop:
        pass
    return decision


class Drive:
    """What tests do with a run."""

    reopened = staticmethod(reopened)
    iterate = staticmethod(iterate)
    finish = staticmethod(finish)

    @staticmethod
    def content(run: Run) -> dict[str, Any]:
        """What must be bit-identical, however the run came here."""
        last = run.ledger.next_iteration() - 1
        ledger = run.ledger
        return {
            "labels": ledger.label_rows(),
            "selected": [ledger.selected(i).tolist() for i in range(last + 1)],
            "metrology": ledger.metrology(),
            "settings": [row.settings for row in ledger.commit_rows()],
            "checkpoints": [row.checkpoint for row in ledger.commit_rows()],
            "files": run.checkpoints.load(last)[0] if run.checkpoints.iterations() else None,
        }


@pytest.fixture
def drive() -> type[Drive]:
    return Drive
