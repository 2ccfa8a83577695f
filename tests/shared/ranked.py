"""Models that several processes train, and how a test trains one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from querist.config.learner import LearnerSettings
from querist.learners import TorchLearner, build_learner
from querist.pools import LabeledSet, TensorPool
from querist.runs.checkpoints import PartialCheckpoint
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.weights import WEIGHTS

ALLOWED = "tests.shared.ranked"
SGD = {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}
ADAM = {"name": "Adam", "options": {"lr": 0.01}}
FEATURES = torch.rand(112, 2, generator=torch.Generator().manual_seed(5))
CLASSES = (FEATURES.sum(1) > 1).long()


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


class Net(nn.Sequential):
    """Four layers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


class Raising(Net):
    """Its second process raises."""

    def training_step(self, batch: Any) -> torch.Tensor:
        if rank() == 1:
            raise ValueError("the sensor is on fire")
        return self(batch[0]).square().mean()


class Slow(Net):
    """Takes its time for a step, where it is told to."""

    def training_step(self, batch: Any) -> torch.Tensor:
        time.sleep(float(os.environ.get("SLOW", "0")))
        return nn.functional.cross_entropy(self(batch[0]), batch[1])


class Alone:
    """A training loop that knows nothing of others."""

    def __call__(self, module: nn.Module, labeled: Any, job: TrainingJob) -> TrainingReport:
        return TrainingReport(epochs=1, steps=1)


class Unused(Net):
    """Has weights that get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in list(self)[:3]:
            x = layer(x)
        return x


class OnDisk(TensorPool):
    """Its features are read one by one."""

    in_memory = False


def labeled(first: int, last: int, features: torch.Tensor = FEATURES) -> LabeledSet:
    chosen = torch.arange(first, last)
    return LabeledSet(TensorPool(features), chosen, CLASSES[chosen])


def on_disk() -> LabeledSet:
    return LabeledSet(OnDisk(FEATURES), torch.arange(64), CLASSES[:64])


def settings(model: str = "Net", **training: Any) -> LearnerSettings:
    training = {"threads": 1, "static_capture": False, "max_training_epochs": 4, **training}
    content = {"seed": 3, "learner": f"{ALLOWED}:{model}", "training": training}
    return LearnerSettings.model_validate(content)


def learner(made: LearnerSettings) -> TorchLearner:
    found = build_learner(made, classes=2, sample=torch.zeros(1, 2))
    assert isinstance(found, TorchLearner)
    return found


def job(made: LearnerSettings, **more: Any) -> TrainingJob:
    base: dict[str, Any] = {
        "iteration": 0,
        "settings": made.training,
        "seed": 11,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }
    return TrainingJob(**{**base, **more})


def trained(
    model: str = "Net", data: LabeledSet | None = None, **more: Any
) -> tuple[TorchLearner, TrainingReport]:
    """A model after training; keywords of the job go to it, the others into the settings."""
    own = {k: more.pop(k) for k in list(more) if k in TrainingJob.__dataclass_fields__}
    made = settings(model, **more)
    fitted = learner(made)
    return fitted, fitted.fit(data or labeled(0, 64), job(made, **own))


INTERRUPTED = {
    "processes": 2,
    "batch_size": 8,
    "optimizer": SGD,
    "max_training_epochs": 10,
    "checkpoint_epochs": 2,
}


def work(folder: Path) -> None:
    """Train in a run's folder, from where an earlier process was; the epochs go to a file."""
    made = settings("Slow", **INTERRUPTED)
    fitted = learner(made)
    fitted.work_in(folder / "work")
    partial = PartialCheckpoint(folder / "checkpoints", 0)
    (folder / "checkpoints").mkdir(exist_ok=True)

    def on_epoch(report: EpochReport) -> None:
        with (folder / "epochs").open("a") as file:
            file.write(f"{report.epoch}\n")

    fitted.fit(labeled(0, 64), job(made, partial=partial, on_epoch=on_epoch))
    (folder / WEIGHTS).write_bytes(fitted.state_files()[WEIGHTS])


if __name__ == "__main__":
    work(Path(sys.argv[1]))
