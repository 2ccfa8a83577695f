from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist import phases
from querist.config.load import build_experiment
from querist.phases.begin import begin
from querist.phases.finish import finish_iteration
from querist.phases.plan import pending_phases
from querist.runs import Run, close_run, open_run

QUEUE_STYLE: dict[str, Any] = {
    "name": "queue style",
    "seed": 3,
    "data": {
        "pool": {
            "name": "examples.queue_style.moons:MoonsDataset",
            "options": {"total_samples": 200, "initial_samples": 0.1},
        }
    },
    "learner": "examples.two_moons.model:MoonClassifier",
    "training": {
        "train_step_fn": "examples.queue_style.moons:training_step",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2}},
        "max_training_epochs": 5,
    },
    "strategies": {
        "query": {
            "name": "examples.queue_style.moons:ClassifierUQQuery",
            "options": {"max_samples": 6},
        },
        "label": "examples.queue_style.moons:DummyLabelStrategy",
        "metrology": "examples.queue_style.moons:F1Metrology",
    },
    "driver": {"max_active_learning_steps": 3},
    "tracking": {"enabled": False},
}


def do(run: Run, *, until: tuple[int, str] | None = None) -> None:
    """What is left of a run, up to before a phase."""
    step = run.ledger.next_iteration()
    while True:
        for phase in pending_phases(run, step):
            if (step, phase.value) == until:
                return
            getattr(phases, phase.value)(run, step)
        if finish_iteration(run, step).stop:
            return
        step += 1


Begin = Callable[..., Run]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Start a queue-style experiment with changes, or go on with one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "older_code")
    opened = []

    def make(run_id: str = "run", **groups: Any) -> Run:
        content = QUEUE_STYLE | {
            key: value if not isinstance(value, dict) else QUEUE_STYLE.get(key, {}) | value
            for key, value in groups.items()
        }
        start = begin(build_experiment(content), run_id)
        opened.append(start.run)
        return open_run(start.run)

    yield make
    for reference in opened:
        close_run(reference)
