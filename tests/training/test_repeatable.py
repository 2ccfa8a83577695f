from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from examples.two_moons.model import MoonClassifier
from querist.training.repeatable import unrepeatable

SCALE = 2.0
SEEN: list[int] = []


def doubled(features: torch.Tensor) -> torch.Tensor:
    return features * SCALE


def counted(features: torch.Tensor) -> torch.Tensor:
    SEEN.append(1)
    return features


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.drop = nn.Dropout(0.1)
        self.rate = 0.5
        self.sizes = (2, 2)
        self.calls = 0
        self.seen: list[int] = []
        self.random = random.Random(0)
        self.register_buffer("shift", torch.zeros(2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.layer(features)) * self.rate + self.shift
        return self.middle(doubled(hidden).reshape(-1, self.sizes[0]))

    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop(hidden) if self.training else hidden / math.sqrt(2)
        return out


class Counts(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return hidden


class Draws(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden if random.random() < 0.5 else -hidden


class DrawsItsOwn(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden if self.random.random() < 0.5 else -hidden


class Remembers(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        self.seen.append(1)
        return hidden


class CallsAway(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        return counted(hidden)


class Imports(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        import numpy as np

        return hidden * np.random.random()


class Lists(Plain):
    def middle(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.stack([hidden * random.random() for _ in range(2)]).sum(0)


@pytest.mark.parametrize(
    "module",
    [Plain(), MoonClassifier(), nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.GRU(2, 2)),
     nn.TransformerEncoderLayer(4, 2)],
)  # fmt: skip
def test_what_does_the_same_each_time(module: nn.Module) -> None:
    assert unrepeatable(module) is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Counts, "forward of Counts writes calls"),
        (Draws, "forward of Draws uses random"),
        (DrawsItsOwn, "forward of DrawsItsOwn reads random"),
        (Remembers, "forward of Remembers reads seen"),
        (CallsAway, "forward of CallsAway uses SEEN"),
        (Imports, "forward of Imports imports numpy"),
        (Lists, "forward of Lists uses random"),
    ],
)
def test_what_may_differ(kind: Callable[[], nn.Module], reason: str) -> None:
    assert unrepeatable(kind()) == reason
    assert unrepeatable(nn.Sequential(nn.Linear(2, 2), kind())) == reason.replace(
        kind.__name__, f"{kind.__name__} (1)"  # type: ignore[attr-defined]
    )


def test_hooks() -> None:
    hooked = Plain()
    hooked.layer.register_forward_hook(lambda *_: None)
    assert unrepeatable(hooked) == "Linear (layer) has hooks"
    hooked = Plain()
    hooked.layer.weight.register_hook(lambda g: g)
    assert unrepeatable(hooked) == "a weight of Linear (layer) has hooks"


def test_a_forward_of_its_own() -> None:
    layer = nn.Linear(2, 2)
    layer.forward = lambda x: x * random.random()  # type: ignore[method-assign]
    assert unrepeatable(layer) == "forward of Linear uses random"


def good(model: nn.Module, batch: Any) -> torch.Tensor:
    features, targets = batch
    return F.cross_entropy(model(features), targets)


def bad(model: nn.Module, batch: Any) -> torch.Tensor:
    return good(model, batch) * random.random()


class Own(Plain):
    def training_step(self, batch: Any) -> torch.Tensor:
        self.calls += 1
        return good(self, batch)


def test_the_step_counts_as_well() -> None:
    assert unrepeatable(Plain(), good) is None
    assert unrepeatable(Plain(), bad) == "the training step uses random"
    assert unrepeatable(Own(), Own().training_step) == "the training step writes calls"
    assert "no Python function" in str(unrepeatable(Plain(), len))

    def inner(model: nn.Module, batch: Any) -> torch.Tensor:
        return good(model, batch) * SCALE + float(len(extra))

    extra = [1]
    assert unrepeatable(Plain(), inner) == "the training step is a function in a function"
