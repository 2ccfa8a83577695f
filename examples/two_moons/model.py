"""A small multilayer perceptron.

Its weights start as He et al. propose for rectifiers ("Delving Deep into Rectifiers", 2015,
arXiv:1502.01852). From torch's default start, which is smaller, plain SGD at this learning rate
draws a nearly straight boundary for most of the 70 iterations.
"""

import torch
from torch import nn


class MoonClassifier(nn.Module):
    """2-16-1 with SiLU; the output is the logit of class 1."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        for layer in (self.layers[0], self.layers[2]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 1)` for points `(n, 2)`."""
        logits: torch.Tensor = self.layers(points)
        return logits
