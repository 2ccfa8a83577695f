"""The matrix of faults: how often each row is tried, and one line a row at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.shared.killed import lab, own_process, uninterrupted

__all__ = ["lab", "own_process", "uninterrupted"]

ROWS = {
    1: "SIGKILL at every named point",
    2: "SIGKILL of the recovery, three times a run",
    3: "power loss at every step of an iteration",
    4: "SIGTERM, cancel, Ctrl-C in each phase",
    5: "runner and flow killed",
    6: "Prefect server down",
    7: "MLflow down for a while, and for the whole run",
    8: "disk full, read-only mount",
    9: "random EIO and ENOSPC",
    10: "label source that raises, times out, answers in part",
    11: "answers that cannot be labels",
    12: "duplicate, conflicting, late, reordered labels",
    13: "a parallel learner crashes or hangs",
    14: "one of several training processes killed, or what started them",
    15: "damaged checkpoint",
    16: "the same run twice",
    17: "clock a day on or back, daylight saving",
    18: "empty or exhausted pool, one class, duplicates, constant scores",
    19: "NaN or infinite features",
    20: "a pool of 10 million x 16",
    21: "names",
    22: "configurations",
    23: "import paths, pickles, YAML tags",
    24: "a schedule that fires twice, or during a run",
    25: "two gates at once, a NaN metric, no baseline",
    26: "a run folder of an older version",
}


@dataclass
class Matrix:
    """Tries and survivals by row."""

    tried: Counter[int] = field(default_factory=Counter)
    survived: Counter[int] = field(default_factory=Counter)


_matrix = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_matrix] = Matrix()


def nightly() -> bool:
    """Whether the full counts are asked for."""
    return os.environ.get("FAULTS", "") == "nightly"


@pytest.fixture(scope="session")
def tries() -> Callable[[int, int, int], int]:
    """How often to try a row: in CI, or nightly."""

    def count(row: int, ci: int, nightly_count: int) -> int:
        assert row in ROWS
        return nightly_count if nightly() else ci

    return count


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count tries of a row, before they are made."""

    def count(row: int, number: int = 1) -> None:
        assert row in ROWS
        request.config.stash[_matrix].tried[row] += number

    return count


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count tries of a row that were survived."""

    def count(row: int, number: int = 1) -> None:
        assert row in ROWS
        request.config.stash[_matrix].survived[row] += number

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    matrix = terminalreporter.config.stash[_matrix]
    if not matrix.tried:
        return
    terminalreporter.section("faults, tries, survived")
    for row, fault in ROWS.items():
        tries, survived = matrix.tried[row], matrix.survived[row]
        mark = "   <- not tried" if not tries else "   <- NOT ALL" if survived != tries else ""
        terminalreporter.line(f"{row:>3}  {fault:<62} {tries:>6} {survived:>6}{mark}")
