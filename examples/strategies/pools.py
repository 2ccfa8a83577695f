"""The handwritten digits (scikit-learn's copy) with other targets than their ten classes."""

from __future__ import annotations

import numpy as np
import torch

from querist.pools import TensorPool

LOOPS = (1, 0, 0, 0, 0, 0, 1, 0, 1, 1)
"""How many digits have a closed loop: 0, 6, 8 and 9."""


def digit_classes(n: int | None = None) -> TensorPool:
    """Ten classes; of the first n digits only, where that is enough."""
    features, digits = _digits(n)
    return TensorPool(features, digits, classes=10)


def digit_numbers(n: int | None = None) -> TensorPool:
    """Regression: the digit as a number in 0 .. 1."""
    features, digits = _digits(n)
    return TensorPool(features, digits.float() / 9)


def digit_labels(n: int | None = None) -> TensorPool:
    """Three labels, each there (1) or not (0): even, at least five, and with a closed loop."""
    features, digits = _digits(n)
    loops = torch.tensor(LOOPS)[digits]
    targets = torch.stack([digits % 2 == 0, digits >= 5, loops == 1], dim=1)
    return TensorPool(features, targets.float())


def _digits(n: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(n, 64)` in 0 .. 1 and digits `(n,)`."""
    from sklearn.datasets import load_digits

    features, digits = load_digits(return_X_y=True)
    scaled = torch.from_numpy((features / 16).astype(np.float32))
    return scaled[:n], torch.from_numpy(digits.astype(np.int64))[:n]
