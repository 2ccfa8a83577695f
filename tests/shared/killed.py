"""Runs in processes of their own, that are killed and resumed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ITERATIONS, LABELS = 3, 10
EXPERIMENT: dict[str, Any] = {
    "name": "interrupted moons",
    "seed": 7,
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 300}},
        "initial": {"share": 0.1},
    },
    "learner": "interrupted:Model",
    "training": {
        "loss": "bce_with_logits",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2, "momentum": 0.9}},
        "reset_optimizer": False,
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 4,
    },
    "strategies": {
        "query": [{"name": "distance_to_boundary", "n": 6}, {"name": "random", "n": 4}],
        "label": "interrupted:Shop",
        "metrology": "f1",
    },
    "gate": {"name": "metric_improvement", "options": {"metric": "f1"}},
    "driver": {"max_active_learning_steps": ITERATIONS, "checkpoint_interval": 0},
    "tracking": {"enabled": False},
}
ONE_BY_ONE = {"name": "callable", "options": {"function": "interrupted:label"}}
"""A label source that bills every question and knows nothing of keys."""

PRELOADED = [
    "interrupted",
    "retrained",
    "querist.phases.begin",
    "querist.strategies",
    "querist.figures.canvas",
    "sklearn.metrics",
    "torch._dynamo",
    "examples.two_moons.data",
]
_LABELS = "sample, source, source_version, annotator, revision, used, value, cost, iteration"
LEDGER_ROWS = (
    "select subset, position, sample from subsets order by 1, 2",
    "select iteration, position, sample, score, strategy from selections order by 1, 2",
    "select sample, iteration, position, key from requests order by 2, 3",
    f"select {_LABELS} from labels order by 1, 2, 3",
    "select iteration, metric, value, labels from metrology order by 1, 2",
    "select iteration, phase from phases order by 1, 2",
    "select iteration, promote, content from verdicts order by 1",
    "select iteration, labels, settings, checkpoint, digests from commits order by 1",
    # Only runs that are tracked have curves.
    "select key, value from facts where id in (select max(id) from facts group by key) "
    "and key not like 'curve %' order by 1",
)


@dataclass(frozen=True)
class Outcome:
    """Everything about a run that may not depend on how often it was interrupted."""

    ledger: list[list[tuple[Any, ...]]]
    checkpoints: dict[str, str]
    metrology: bytes


def outcome(folder: Path) -> Outcome:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        rows = [ledger.execute(query).fetchall() for query in LEDGER_ROWS]
    files = sorted(f for f in (folder / "checkpoints").rglob("*") if f.is_file())
    return Outcome(
        rows,
        {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        (folder / "f1_metrology.json").read_bytes(),
    )


@dataclass(frozen=True)
class Lab:
    """A place in which a run is driven by processes that may die.

    Attributes:
        folder: where its experiment and its runs are.
        context: starts the processes.
    """

    folder: Path
    context: ForkServerContext

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "active_learning_logs" / "run"

    @property
    def asked(self) -> list[str]:
        """What was billed."""
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def write(self, **changes: Any) -> None:
        """Write the experiment, with groups changed."""
        from querist.config.load import merge

        text = yaml.safe_dump(merge(EXPERIMENT, changes))
        (self.folder / "experiment.yaml").write_text(text)

    def __call__(self, crash: str = "", die_after: float | None = None) -> int:
        """Do what is left of the run in a process of its own; returns its exit code."""
        if not (self.folder / "experiment.yaml").exists():
            self.write()
        process: Any = self.context.Process(
            target=import_module("interrupted").work,
            args=(str(self.folder / "experiment.yaml"), "run", crash),
            kwargs={"asked": str(self.folder / "asked"), "die_after": die_after},
        )
        process.start()
        process.join(120)
        assert process.exitcode is not None, "it hangs"
        return int(process.exitcode)


@pytest.fixture(scope="session")
def own_process() -> Iterator[ForkServerContext]:
    """Starts processes in milliseconds: they are forked from one that has torch already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        # Python 3.11's fork server does not take over the import path for what it preloads.
        path = (HERE, REPOSITORY, REPOSITORY / "src")
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,retrained,examples")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        yield context


@pytest.fixture
def lab(own_process: ForkServerContext, tmp_path: Path) -> Lab:
    """A place for one run."""
    return Lab(tmp_path, own_process)


@pytest.fixture(scope="session")
def uninterrupted(
    own_process: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    """How the run ends when nothing happens to it."""
    lab = Lab(tmp_path_factory.mktemp("uninterrupted"), own_process)
    assert lab() == 0
    assert len(lab.asked) == ITERATIONS * LABELS
    return outcome(lab.run)
