"""A multilayer perceptron in two parts."""

import torch
from torch import nn


class TwoParts(nn.Module):
    """64-64-32 with SiLU and dropout, and a linear head on top of it."""

    def __init__(self, classes: int = 10, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(64, 64), nn.SiLU(), nn.Dropout(dropout), nn.Linear(64, 32), nn.SiLU()
        )
        self.head = nn.Linear(32, classes)

    def forward(self, digits: torch.Tensor) -> torch.Tensor:
        """Logits `(n, classes)` of digits `(n, 64)`."""
        logits: torch.Tensor = self.head(self.features(digits))
        return logits
