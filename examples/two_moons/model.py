"""A small multilayer perceptron."""

import torch
from torch import nn


class MoonClassifier(nn.Module):
    """2-16-1 with SiLU; the output is the logit of class 1."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 1)` for points `(n, 2)`."""
        logits: torch.Tensor = self.layers(points)
        return logits
