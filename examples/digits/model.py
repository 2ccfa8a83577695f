"""A small multilayer perceptron with dropout, for digits and other tables of numbers."""

import torch
from torch import nn


class DigitClassifier(nn.Module):
    """features-hidden-classes with SiLU and dropout; its outputs are logits (or numbers)."""

    def __init__(
        self, features: int = 64, hidden: int = 64, classes: int = 10, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits `(n, classes)` for pixels `(n, features)`."""
        logits: torch.Tensor = self.layers(pixels)
        return logits
