"""The samples that the contract of learners trains on, and a training that is cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from querist.pools.tensor_pool import TensorPool
from querist.training.job import EpochReport

CLASSES = 3
WIDTH = 4
FEW, MORE, SIZE = 18, 30, 60
"""Labeled samples of the first iteration, of the second one, and samples in all."""


class KeptState:
    """Partial checkpoints in memory."""

    def __init__(self) -> None:
        self._state: tuple[int, Mapping[str, bytes]] | None = None

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep these."""
        self._state = (epoch, dict(files))

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        """What was kept last."""
        return self._state


class KilledError(Exception):
    """The end of a training in the middle."""


def killer(last: int) -> Callable[[EpochReport], None]:
    """Ends the training at the report after `last` ones."""
    seen: list[EpochReport] = []

    def on_epoch(report: EpochReport) -> None:
        seen.append(report)
        if len(seen) > last:
            raise KilledError

    return on_epoch


def _samples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(11)
    classes = torch.arange(SIZE) % CLASSES
    features = torch.rand(SIZE, WIDTH, generator=drawn)
    features[torch.arange(SIZE), classes] += 1.5
    noise = 0.05 * torch.randn(SIZE, generator=drawn)
    numbers = features @ torch.tensor([1.0, -0.5, 0.5, 0.25]) + noise
    return features, classes, numbers


FEATURES, TARGETS, NUMBERS = _samples()
LABELS = torch.stack([TARGETS == 0, TARGETS <= 1, TARGETS >= 1], dim=1).float()
"""Three labels at once, each of which a line can tell apart."""
POOL = TensorPool(FEATURES)
