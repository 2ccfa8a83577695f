"""The handwritten digits that ship with scikit-learn, as a pool."""

from __future__ import annotations

import numpy as np

from querist.pools.tensor_pool import TensorPool
from querist.registry import register


@register("pool", "digits")
def digits(images: bool = False) -> TensorPool:
    """1,797 handwritten digits, 64 features in 0 .. 1, ten classes (scikit-learn's copy).

    Args:
        images: features are images `(n, 1, 8, 8)` and not rows of 64.
    """
    from sklearn.datasets import load_digits

    features, targets = load_digits(return_X_y=True)
    scaled = (features / 16).astype(np.float32)
    shaped = scaled.reshape(-1, 1, 8, 8) if images else scaled
    return TensorPool(shaped, targets.astype(np.int64))
