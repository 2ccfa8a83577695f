"""Two moons without Querist: `python benchmarks/moons_loops.py reference|bare [--iterations N]`.

`reference` is the loop as the field writes it: a map-style data set, a DataLoader that collates
sample by sample, no orchestration, no tracking. `bare` takes the same steps on tensors. Both print
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

SEED, POINTS, INITIAL, ASKED = 216167, 1000, 50, 10
EPOCHS, BATCH_SIZE = 30, 16

Epoch = Callable[[Tensor, Tensor], Iterator[tuple[Tensor, Tensor]]]


class Points(Dataset[tuple[Tensor, Tensor]]):
    """The labeled points, one by one."""

    def __init__(self, points: Tensor, classes: Tensor) -> None:
        self._points = points
        self._classes = classes

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._points[index], self._classes[index]


def loader_epochs(points: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(Points(points, classes), batch_size=BATCH_SIZE, shuffle=True)
    for _ in range(EPOCHS):
        yield from loader


def tensor_epochs(points: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(points)).split(BATCH_SIZE):
            yield points[batch], classes[batch]


def train(module: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], *, lr: float) -> int:
    """Train in place; returns the optimizer steps."""
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    module.train()
    steps = 0
    for points, classes in batches:
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(module(points), classes)
        loss.backward()
        optimizer.step()
        steps += 1
    return steps


@torch.no_grad()
def probabilities(module: nn.Module, points: Tensor) -> Tensor:
    module.eval()
    logits: Tensor = module(points)
    return logits.squeeze(1).sigmoid()


def loop(epochs: Epoch, iterations: int, folder: Path) -> dict[str, float]:
    """Active learning from the first to the last iteration."""
    from examples.two_moons.data import sample_moons
    from examples.two_moons.model import MoonClassifier

    torch.manual_seed(SEED)
    points, classes = sample_moons(POINTS, 0.3, 0.25)
    test_points, test_classes = sample_moons(POINTS, 0.3, 0.25)
    targets = classes.float().unsqueeze(1)
    module = MoonClassifier()
    labeled = torch.zeros(POINTS, dtype=torch.bool)
    labeled[torch.randperm(POINTS)[:INITIAL]] = True
    first_iteration = time.time()
    steps, f1 = 0, 0.0
    for iteration in range(iterations):
        known = labeled.nonzero().squeeze(1)
        batches = epochs(points[known], targets[known])
        steps += train(module, batches, lr=0.01 if iteration == 0 else 0.005)
        f1 = float(f1_score(test_classes, probabilities(module, test_points) > 0.5))
        unlabeled = (~labeled).nonzero().squeeze(1)
        distance = (probabilities(module, points[unlabeled]) - 0.5).abs()
        labeled[unlabeled[distance.topk(ASKED, largest=False).indices]] = True
        torch.save(module.state_dict(), folder / f"checkpoint_{iteration:04d}.pt")
    return {"first_iteration": first_iteration, "steps": steps, "f1": f1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=("reference", "bare"))
    parser.add_argument("--iterations", type=int, default=70)
    options = parser.parse_args()
    torch.set_num_threads(1)
    epochs = loader_epochs if options.loop == "reference" else tensor_epochs
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(loop(epochs, options.iterations, Path(folder))))


if __name__ == "__main__":
    main()
