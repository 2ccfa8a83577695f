"""Code as people wrote it for another loop; nothing of Querist is imported."""

from queue import Queue
from typing import Any

import torch
from torch import nn

STEPS = {"train": 0, "validate": 0}


class FirstPositions:
    """Puts positions in the driver's unlabeled pool, some of them twice."""

    def __init__(self, number: int = 4, twice: bool = False, beyond: bool = False) -> None:
        self.number, self.twice, self.beyond = number, twice, beyond

    def attach(self, driver: Any) -> None:
        self.driver = driver

    def sample(self, query_queue: Queue[int]) -> None:
        pool = self.driver.unlabeled_datapool
        assert self.driver.unlabeled_pool is pool
        for position in range(self.number):
            assert pool[position].shape == (2,)
            query_queue.put(position)
            if self.twice:
                query_queue.put(position)
        if self.beyond:
            query_queue.put(len(pool))


class FixedItems:
    """Wants the same items of the data set every time."""

    def __init__(self, items: list[int]) -> None:
        self.items = items

    def attach(self, driver: Any) -> None:
        self.driver = driver

    def sample(self, query_queue: Queue[int]) -> None:
        for item in self.items:
            query_queue.put(item + 10 * self.driver.active_learning_step_idx)


class Witness:
    """Notes what it sees of its driver."""

    def attach(self, driver: Any) -> None:
        self.driver = driver
        self.records: list[dict[str, float]] = []

    def compute(self) -> None:
        d = self.driver
        assert isinstance(d.learner, nn.Module)
        assert d.model is d.learner
        assert d.training_pool is d.train_datapool
        assert d.validation_pool is d.val_datapool
        assert d.device == torch.device("cpu")
        assert d.log_dir.name == d.run_id
        assert d.config.name == "queue style"
        d.logger.info("the witness measured")
        self.records.append(
            {"step": d.active_learning_step_idx, "seen": len(d.train_datapool), "name": "x"}  # type: ignore[dict-item]
        )


class Unasked:
    """Two labels for one item."""

    def label(self, queue_to_label: Queue[int], serialize_queue: Queue[int]) -> None:
        item = queue_to_label.get()
        serialize_queue.put(item)
        serialize_queue.put(item)


class HalfOf:
    """Labels what is even, leaves the rest."""

    def label(self, queue_to_label: Queue[int], serialize_queue: Queue[int]) -> None:
        item = queue_to_label.get()
        if item % 2 == 0:
            serialize_queue.put(item)


class OwnStep(nn.Module):
    """A model with its own training and validation steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def training_step(self, batch: Any) -> torch.Tensor:
        STEPS["train"] += 1
        points, targets = batch
        return nn.functional.binary_cross_entropy_with_logits(
            self(points), targets.float().reshape(-1, 1)
        )

    def validation_step(self, batch: Any) -> torch.Tensor:
        STEPS["validate"] += 1
        return self.training_step(batch)


def train_step(model: nn.Module, batch: Any) -> torch.Tensor:
    STEPS["train"] += 1
    points, targets = batch
    return nn.functional.binary_cross_entropy_with_logits(
        model(points), targets.float().reshape(-1, 1)
    )


def validate_step(model: nn.Module, batch: Any) -> float:
    STEPS["validate"] += 1
    with torch.no_grad():
        return float(train_step(model, batch))
