"""What durability costs: two moons with fsync and hashing, and without, in turn.

Both runs live in this process and take their iterations alternately, so that noise hits both alike.
The fitting itself, which syncs and hashes nothing, is timed apart: its noise is many times what is
to be measured. Each pass gives the difference per iteration; the exit code is 1 when the must is
missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, BinaryIO
from unittest.mock import patch

import torch
from moons_functions import EXPERIMENT, PHASES, overrides
from rich.console import Console

from querist.config.load import apply_overrides, build_experiment, read_yaml
from querist.phases import commit_iteration, decide, pending_phases
from querist.runs import Run, close_run, create_run
from querist.runs.model import fit
from querist.storage.store import Store, stored_by
from querist.training.job import TrainingReport

MUST_MS = 5.0
out = Console(highlight=False)


class Forgetful(Store):
    """A store that leaves it to the operating system when something reaches the disk."""

    def sync(self, file: BinaryIO) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


@contextmanager
def careless() -> Iterator[None]:
    """Inside, nothing is synced and nothing is hashed."""
    with (
        stored_by(Forgetful()),
        patch.dict("querist.ledger.database.SYNCHRONOUS", {True: "OFF", False: "OFF"}),
        patch("querist.storage.atomic.sha256", lambda content: ""),
        patch("querist.runs.checkpoints.sha256", lambda content: ""),
        patch("querist.ledger.iterations._digest_of", lambda rows: ""),
    ):
        yield


@contextmanager
def careful() -> Iterator[None]:
    """Inside, everything is as it always is."""
    yield


def run_of(root: Path, iterations: int) -> Run:
    changes = [*overrides(root, iterations), "tracking.enabled=false"]
    content = apply_overrides(read_yaml(EXPERIMENT), changes)
    return create_run(build_experiment(content, str(EXPERIMENT)))


@dataclass(frozen=True)
class Seconds:
    """One iteration's time, and what of it is left without fitting the model."""

    whole: float
    beside_fitting: float


def iterate(run: Run, iteration: int) -> Seconds:
    """One iteration."""
    fitting = 0.0

    def timed_fit(*args: Any) -> TrainingReport:
        nonlocal fitting
        started = time.perf_counter()
        report = fit(*args)
        fitting += time.perf_counter() - started
        return report

    with patch("querist.phases.train.fit", timed_fit):
        started = time.perf_counter()
        for phase in pending_phases(run, iteration):
            PHASES[phase](run, iteration)
        commit_iteration(run, iteration)
        decide(run, iteration)
        whole = time.perf_counter() - started
    assert fitting, "the name of what fits the model has changed"
    return Seconds(whole, whole - fitting)


def one_pass(root: Path, iterations: int) -> tuple[list[Seconds], list[Seconds]]:
    """Seconds per iteration of the careful run, and of the careless one."""
    modes = {"careful": careful, "careless": careless}
    runs: dict[str, Run] = {}
    for name, mode in modes.items():
        with mode():
            runs[name] = run_of(root / name, iterations)
    seconds: dict[str, list[Seconds]] = {name: [] for name in modes}
    for iteration in range(iterations):
        order = list(modes) if iteration % 2 else list(reversed(modes))
        for name in order:
            # Else the careful run's next fsync would write out what the careless one left behind.
            os.sync()
            with modes[name]():
                seconds[name].append(iterate(runs[name], iteration))
    for run in runs.values():
        close_run(run.reference)
    return seconds["careful"], seconds["careless"]


def fsync_ms(folder: Path, number: int = 200) -> float:
    """Milliseconds that the disk takes to sync a page."""
    with (folder / "page").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(number):
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
        return 1000 * (time.perf_counter() - started) / number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=70)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the runs are written (default: /tmp)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.append(str(Path.cwd()))  # the experiment's model and data are there
    differences = []
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            durable, fast = one_pass(Path(folder), options.iterations)
        pairs = list(zip(durable, fast, strict=True))
        beside = [1000 * (a.beside_fitting - b.beside_fitting) for a, b in pairs]
        whole = [1000 * (a.whole - b.whole) for a, b in pairs]
        differences.append(fmean(beside))
        out.print(
            f"repeat {repeat + 1}: {1000 * median(s.whole for s in durable):.1f} ms an iteration "
            f"with fsync and hashing, {1000 * median(s.whole for s in fast):.1f} without; "
            f"difference beside fitting {fmean(beside):.2f} ms on average, {median(beside):.2f} in "
            f"the median; with the noise of fitting {fmean(whole):.2f}, {median(whole):.2f}",
            soft_wrap=True,
        )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        latency = fsync_ms(Path(folder))
    out.print(f"an fsync of 4 KiB takes {latency:.2f} ms on this disk now")
    found = median(differences)
    met = found <= MUST_MS
    verdict = "met" if met else "MISSED"
    out.print(f"durability costs {found:.2f} ms an iteration (must: {MUST_MS:g}): {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
