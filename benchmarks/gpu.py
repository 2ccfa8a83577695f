"""What captures gain on an NVIDIA GPU: `python benchmarks/gpu.py`, where there is one.

Step rates of a small MLP and of a ResNet-18, step by step and captured; and scoring a pool of 10^7
samples with 16 features from page-locked memory, against the bare copy of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from querist.config.training import TrainingConfig
from querist.learners import TorchLearner
from querist.pools import LabeledSet, TensorPool
from querist.training.job import TrainingJob
from querist.training.loop import DefaultLoop

MUST_MLP, MUST_RESNET = 3.0, 1.0
MUST_SCORING_SECONDS, MUST_OF_THE_BUS = 1.0, 1.2
ROWS, FEATURES = 10_000_000, 16
out = Console()


class Block(nn.Module):
    """Two convolutions and a way round them (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.round: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.round = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.body(images) + self.round(images))


def resnet18() -> nn.Module:
    sizes = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1),
             (256, 512, 2), (512, 512, 1))  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        *(Block(*size) for size in sizes),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, 10))


def learner_of(module: nn.Module, sample: Tensor, **settings: Any) -> tuple[TorchLearner, Any]:
    config = TrainingConfig.model_validate({"device": "cuda", **settings})
    learner = TorchLearner(module, classes=10, sample=sample, settings=config, loop=DefaultLoop())
    return learner, config


def step_rate(
    name: str, features: Tensor, *, capture: bool, batch_size: int, precision: str | None
) -> tuple[float, bool | str]:
    """Steps a second of one training, and whether they were captured."""
    torch.manual_seed(0)
    module = mlp() if name == "mlp" else resnet18()
    learner, config = learner_of(
        module, features[:1], static_capture=capture, batch_size=batch_size, last_batch="drop",
        max_training_epochs=4, mixed_precision=precision,
        optimizer={"name": "SGD", "options": {"lr": 1e-3, "momentum": 0.9}},
    )  # fmt: skip
    targets = torch.randint(10, (len(features),), generator=torch.Generator().manual_seed(0))
    labeled = LabeledSet(TensorPool(features), torch.arange(len(features)), targets)
    job = TrainingJob(
        iteration=0, settings=config, seed=0, device=learner.device, dtype=torch.float32
    )
    learner.fit(labeled, job)
    torch.cuda.synchronize()
    started = time.perf_counter()
    report = learner.fit(labeled, job)
    torch.cuda.synchronize()
    return report.steps / (time.perf_counter() - started), report.captured


def training(repeats: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    cases = {
        "mlp": (torch.randn(20_000, FEATURES, generator=generator), 32),
        "resnet18": (torch.randn(2_048, 3, 32, 32, generator=generator), 128),
    }
    found: dict[str, Any] = {}
    for name, (features, size) in cases.items():
        for precision in (None, "bf16", "fp16"):
            rates: dict[bool, list[float]] = {False: [], True: []}
            captured: bool | str = False
            for _ in range(repeats):
                for capture, of in rates.items():
                    rate, captured = step_rate(
                        name, features, capture=capture, batch_size=size, precision=precision
                    )
                    of.append(rate)
            gain = median(a / b for a, b in zip(rates[True], rates[False], strict=True))
            key = f"{name}, {precision or 'float32'}"
            found[key] = {
                "eager": median(rates[False]),
                "captured": median(rates[True]),
                "gain": gain,
                "taken": captured,
            }
            out.print(f"{key}: {found[key]}")
    return found


def scoring(repeats: int) -> dict[str, float]:
    """Seconds for the pool, and for the bare copy of it to the device."""
    pool = torch.randn(ROWS, FEATURES).pin_memory()
    learner, _ = learner_of(mlp(), pool[:1])
    learner.predict_proba(pool[:1_000_000])
    there = torch.empty(ROWS, FEATURES, device="cuda")
    score, copy = [], []
    for _ in range(repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        there.copy_(pool, non_blocking=True)
        torch.cuda.synchronize()
        copied = time.perf_counter()
        learner._scoring.on_device(pool)
        torch.cuda.synchronize()
        copy.append(copied - started)
        score.append(time.perf_counter() - copied)
    found = {"seconds": median(score), "copy": median(copy)}
    found["of the bus"] = found["seconds"] / found["copy"]
    out.print(f"scoring {ROWS:,} x {FEATURES}: {found}")
    return found


def main() -> int:
    """The exit code: 0, or 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        out.print("there is no NVIDIA GPU here that torch can use")
        return 2
    device = torch.cuda.get_device_name()
    out.print(f"{device}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    rates, scored = training(options.repeats), scoring(options.repeats)
    missed = [
        key
        for key, of in rates.items()
        if of["gain"] < (MUST_MLP if key.startswith("mlp") else MUST_RESNET)
    ]
    missed += ["scoring, seconds"] * (scored["seconds"] >= MUST_SCORING_SECONDS)
    missed += ["scoring, against the bus"] * (scored["of the bus"] > MUST_OF_THE_BUS)
    for what in missed:
        out.print(f"[red]{what}: the bound is missed[/red]")
    if options.json is not None:
        report = {"device": device, "training": rates, "scoring": scored}
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
