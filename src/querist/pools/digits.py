"""The handwritten digits that ship with scikit-learn, as a pool."""

from __future__ import annotations

import numpy as np

from querist.pools.tensor_pool import TensorPool
from querist.registry import register


@register("pool", "digits")
def digits() -> TensorPool:
    """1,797 handwritten digits, 64 features in 0 .. 1, ten classes (scikit-learn's copy)."""
    from sklearn.datasets import load_digits

    features, targets = load_digits(return_X_y=True)
    return TensorPool((features / 16).astype(np.float32), targets.astype(np.int64))
