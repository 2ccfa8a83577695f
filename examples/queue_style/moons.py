"""Two moons in the queue style: a data set that appends, and strategies attached to a driver."""

import json
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from sklearn.metrics import precision_recall_fscore_support
from torch import nn
from torch.utils.data import Dataset

from examples.two_moons.data import sample_moons


class MoonsDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Shows only the points that are labeled so far; `append` takes the index of a new one."""

    def __init__(self, total_samples: int = 1000, initial_samples: float = 0.05) -> None:
        self.X, self.y = sample_moons(total_samples, 0.3, 0.25)
        order = torch.randperm(total_samples)
        self.train_indices: list[int] = order[: int(initial_samples * total_samples)].tolist()

    def __len__(self) -> int:
        return len(self.train_indices)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = self.train_indices[position]
        return self.X[index], self.y[index].float()[None]

    def append(self, index: int) -> None:
        """Label the point with this index."""
        self.train_indices.append(index)


def training_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Binary cross-entropy of a batch."""
    points, targets = batch
    return nn.functional.binary_cross_entropy_with_logits(model(points), targets)


class ClassifierUQQuery:
    """Puts the points nearest to probability 0.5 into the queue."""

    def __init__(self, max_samples: int) -> None:
        self.max_samples = max_samples

    def attach(self, driver: Any) -> None:
        """Remember the driver."""
        self.driver = driver

    def sample(self, query_queue: Queue[int]) -> None:
        """Query."""
        data, model = self.driver.train_datapool, self.driver.learner
        with torch.no_grad():
            uncertainty = (model(data.X).sigmoid().flatten() - 0.5).abs()
        uncertainty[data.train_indices] = torch.inf
        for index in uncertainty.argsort(stable=True)[: self.max_samples]:
            query_queue.put(int(index))


class DummyLabelStrategy:
    """The labels are in the data set already: passes the indices on."""

    def attach(self, driver: Any) -> None:
        """Remember the driver."""
        self.driver = driver

    def label(self, queue_to_label: Queue[int], serialize_queue: Queue[int]) -> None:
        """Label."""
        while not queue_to_label.empty():
            serialize_queue.put(queue_to_label.get())


class F1Metrology:
    """Precision, recall and F1 over all points."""

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []

    def attach(self, driver: Any) -> None:
        """Remember the driver."""
        self.driver = driver

    def compute(self) -> None:
        """Measure."""
        data = self.driver.train_datapool
        with torch.no_grad():
            predicted = (self.driver.learner(data.X).flatten() > 0).long()
        precision, recall, f1, _ = precision_recall_fscore_support(
            data.y.numpy(), predicted.numpy(), average="binary", zero_division=0
        )
        self.records.append(
            {
                "step": self.driver.active_learning_step_idx,
                "num_train_samples": len(data),
                "precision": precision,
                "recall": recall,
                "f1": f1,
            }
        )

    def serialize_records(self, path: Path | None = None) -> None:
        """Write all records."""
        path = path or self.driver.log_dir / "my_records.json"
        path.write_text(json.dumps(self.records))

    def load_records(self, path: Path | None = None) -> None:
        """Read the records of a resumed run."""
        path = path or self.driver.log_dir / "my_records.json"
        self.records = json.loads(path.read_text())
