"""Training by Querist's loop against a loop written by hand: `python benchmarks/training.py`.

The same model, data, batches and optimizer, in one process with one thread, in turn: by hand over
tensors; by Querist's loop, step by step; and by Querist's loop as it is by default, which captures
steps. Then the whole two-moons job with Prefect and MLflow against the reference loop.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from moons import ITERATIONS, machine, run_job, run_program
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from querist.config.training import TrainingConfig
from querist.learners import TorchLearner
from querist.pools import LabeledSet, TensorPool
from querist.training.job import TrainingJob
from querist.training.loop import DefaultLoop

MUST_RATIO = 1.03
TARGET_JOB = 0.6
CPU = torch.device("cpu")
WAYS = ("by hand", "step by step", "captured")
out = Console()


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        name: what people call it.
        module: makes the model, seeded from outside.
        shape: of one sample.
        classes: the model's outputs.
        samples, batch_size, epochs: of a training.
        optimizer, lr: the optimizer.
    """

    name: str
    module: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    samples: int
    batch_size: int
    epochs: int
    optimizer: str
    lr: float


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets)


def mlp(features: int, hidden: int, classes: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, classes),
    )  # fmt: skip


CASES = (
    Case("two moons, 2-16-1, SGD", lambda: nn.Sequential(nn.Linear(2, 16), nn.SiLU(),
         nn.Linear(16, 1)), (2,), 2, 400, 16, 60, "SGD", 0.01),
    Case("digits, 64-128-128-10, Adam", mlp(64, 128, 10), (64,), 10, 1000, 32, 40, "Adam", 1e-3),
    Case("28x28, two convolutions, AdamW", convolutional, (1, 28, 28), 10, 512, 32, 3, "AdamW",
         1e-3),
    Case("784-1024-1024-10, SGD", mlp(784, 1024, 10), (784,), 10, 1024, 64, 3, "SGD", 0.01),
)  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """Seconds of one training, and what it came to.

    Attributes:
        seconds: wall time.
        steps: optimizer steps.
        loss: the last epoch's mean loss.
    """

    seconds: float
    steps: int
    loss: float


def data(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(case.samples, *case.shape, generator=generator)
    return features, torch.randint(case.classes, (case.samples,), generator=generator)


def by_hand(case: Case) -> Callable[[], Timed]:
    features, targets = data(case)
    torch.manual_seed(0)
    module = case.module()
    if case.classes == 2:
        targets = targets.float()
        loss_of: Callable[[Tensor, Tensor], Tensor] = binary
    else:
        loss_of = nn.functional.cross_entropy

    def train() -> Timed:
        started = time.perf_counter()
        optimizer = getattr(torch.optim, case.optimizer)(module.parameters(), lr=case.lr)
        module.train()
        steps = 0
        for _ in range(case.epochs):
            losses = []
            for rows in torch.randperm(case.samples).split(case.batch_size):
                optimizer.zero_grad()
                loss = loss_of(module(features[rows]), targets[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
                steps += 1
            mean = float(torch.stack(losses).mean())
        return Timed(time.perf_counter() - started, steps, mean)

    return train


def by_querist(case: Case, *, capture: bool) -> Callable[[], Timed]:
    features, targets = data(case)
    settings = TrainingConfig.model_validate(
        {
            "max_training_epochs": case.epochs,
            "batch_size": case.batch_size,
            "optimizer": {"name": case.optimizer, "options": {"lr": case.lr}},
            "static_capture": "auto" if capture else False,
            "threads": 1,
            "device": "cpu",
        }
    )
    torch.manual_seed(0)
    learner = TorchLearner(
        case.module(), classes=case.classes, sample=features[:1], settings=settings,
        loop=DefaultLoop(),
    )  # fmt: skip
    labeled = LabeledSet(TensorPool(features), torch.arange(case.samples), targets)
    job = TrainingJob(iteration=0, settings=settings, seed=0, device=CPU, dtype=torch.float32)

    def train() -> Timed:
        started = time.perf_counter()
        report = learner.fit(labeled, job)
        seconds = time.perf_counter() - started
        assert report.train_loss is not None
        return Timed(seconds, report.steps, report.train_loss)

    return train


def measure(case: Case, repeats: int) -> dict[str, list[Timed]]:
    """All ways in turn, after one round that is not counted."""
    ways = dict(
        zip(WAYS, (by_hand(case), by_querist(case, capture=False), by_querist(case, capture=True)),
            strict=True)
    )  # fmt: skip
    found: dict[str, list[Timed]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for way, train in ways.items():
            timed = train()
            if repeat:
                found[way].append(timed)
    steps = {timed.steps for of in found.values() for timed in of}
    assert len(steps) == 1, f"they took {steps} steps: they cannot be compared"
    return found


def ratio(of: list[Timed], base: list[Timed]) -> float:
    """The median of the ratios of neighbours in time."""
    return median(mine.seconds / theirs.seconds for mine, theirs in zip(of, base, strict=True))


def show(results: dict[str, dict[str, list[Timed]]]) -> list[str]:
    """Print the table; returns the cases that miss the bound."""
    table = Table("model", title="One optimizer step: us (ratio to the loop by hand)",
                  title_justify="left")  # fmt: skip
    for way in WAYS:
        table.add_column(way, justify="right")
    missed = []
    for name, found in results.items():
        cells = []
        for way in WAYS:
            of = found[way]
            step = 1e6 * median(timed.seconds / timed.steps for timed in of)
            cells.append(f"{step:,.1f} ({ratio(of, found['by hand']):.2f})")
        table.add_row(name, *cells)
        if ratio(found["captured"], found["by hand"]) > MUST_RATIO:
            missed.append(name)
    out.print(table)
    return missed


def main_job(repeats: int) -> dict[str, list[float]]:
    """Wall seconds of the reference loop and of `querist run`, in turn."""
    found: dict[str, list[float]] = {"reference": [], "job": []}
    with TemporaryDirectory(prefix="querist-bench-") as scratch:
        prepared = Path(scratch) / "prepared"
        prepared.mkdir()
        run_job(1, prepared)
        for repeat in range(repeats):
            for name, walls in found.items():
                folder = Path(scratch) / f"{name}-{repeat}"
                folder.mkdir()
                walls.append(run_program(name, ITERATIONS, folder, prepared / "prefect").cost.wall)
    return found


def main() -> int:
    """The exit code: 0, or 1 when the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=3, help="repeats of the two-moons job; 0: none")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    here, date = machine(), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    out.print(f"{here['cpu']}, {here['cores']} cores, {date}")
    results = {case.name: measure(case, options.repeats) for case in CASES}
    missed = show(results)
    for name in missed:
        out.print(f"[red]{name}: more than {MUST_RATIO} times the loop by hand[/red]")
    walls = main_job(options.jobs) if options.jobs else {}
    if walls:
        reference, job = (median(walls[name]) for name in ("reference", "job"))
        out.print(
            f"two moons, {ITERATIONS} iterations: reference loop {reference:.1f} s, querist run "
            f"{job:.1f} s: {job / reference:.2f}; target {TARGET_JOB} "
            f"{'is reached' if job / reference <= TARGET_JOB else 'is not reached'}"
        )
    if options.json is not None:
        report = {
            "date": date,
            "machine": here,
            "steps": {
                name: {way: [asdict(timed) for timed in of] for way, of in found.items()}
                for name, found in results.items()
            },
            "two moons": walls,
        }
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
