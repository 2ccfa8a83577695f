"""A multilayer perceptron for one number."""

import torch
from torch import nn


class Surrogate(nn.Module):
    """10-64-64-1 with SiLU."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(10, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Responses `(n, 1)` of inputs `(n, 10)`."""
        found: torch.Tensor = self.layers(inputs)
        return found
