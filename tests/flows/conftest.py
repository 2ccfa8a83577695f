from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PRELOADED = [
    "interrupted",
    "querist.phases.begin",
    "querist.strategies",
    "querist.figures.canvas",
    "sklearn.metrics",
    "torch._dynamo",
    "examples.two_moons.data",
]
LEDGER_ROWS = (
    "select subset, position, sample from subsets order by 1, 2",
    "select iteration, position, sample, score, strategy from selections order by 1, 2",
    "select sample, iteration, position, key from requests order by 2, 3",
    "select sample, source, annotator, value, cost, iteration from labels order by 1, 2, 3",
    "select iteration, metric, value, labels from metrology order by 1, 2",
    "select iteration, phase from phases order by 1, 2",
    "select iteration, labels, settings, checkpoint from commits order by 1",
    "select key, value from facts order by 1",
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


@pytest.fixture(scope="session")
def own_process() -> Iterator[ForkServerContext]:
    """Starts processes in milliseconds: they are forked from one that has torch already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        # Python 3.11's fork server does not take over the import path for what it preloads.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(REPOSITORY)]))
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        yield context
