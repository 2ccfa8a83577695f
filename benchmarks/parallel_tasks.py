"""What learners of `parallel.py` do: they sleep, or compute. Copied beside each experiment."""

from __future__ import annotations

import os
import sys
import time

import torch

from querist.pools import TensorPool

SECONDS = float(os.environ.get("TASK_SECONDS", "0"))
"""That training and the label take, each once an iteration."""


def pool(n: int = 10_000) -> TensorPool:
    """So large that learners hardly ever want the same label."""
    points, test = torch.randn(n, 2), torch.randn(100, 2)
    held_out = TensorPool(test, (test[:, 0] > 0).long(), classes=2)
    return TensorPool(points, (points[:, 0] > 0).long(), classes=2, held_out={"test": held_out})


class Model(torch.nn.Module):
    """It has one step an iteration."""

    def __init__(self, products: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.products = products

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            time.sleep(SECONDS)
            compute(self.products)
        logits: torch.Tensor = self.layer(x)
        return logits


def label(point: torch.Tensor) -> int:
    time.sleep(SECONDS)
    return int(point[0] > 0)


def compute(products: int) -> None:
    """Fixed work, in caches."""
    matrix = torch.eye(256)
    for _ in range(products):
        matrix = matrix @ matrix


if __name__ == "__main__":  # the work alone: prints when it began and ended
    torch.set_num_threads(1)
    compute(100)
    started = time.time()
    for _ in range(int(sys.argv[2])):
        compute(int(sys.argv[1]))
    print(started, time.time())
