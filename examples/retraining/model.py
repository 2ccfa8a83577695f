"""A multilayer perceptron for images that were flattened."""

import torch
from torch import nn


class ImageNet(nn.Module):
    """features-hidden-classes with SiLU, and dropout between."""

    def __init__(
        self, features: int = 64, hidden: int = 64, classes: int = 10, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits `(n, classes)` of inputs `(n, ...)`."""
        found: torch.Tensor = self.layers(inputs.flatten(1))
        return found
