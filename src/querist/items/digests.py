"""SHA-256 of samples, by which equal content is found."""

from __future__ import annotations

import hashlib

import torch


def digests_of(features: torch.Tensor) -> list[str]:
    """SHA-256 of each row of features `(n, ...)`: its type, shape and bytes."""
    if not len(features):
        return []  # nothing can be reshaped to rows of an unknown length
    about = f"{features.dtype}{tuple(features.shape[1:])}".encode()
    # A negative zero equals zero, and is other bytes.
    if features.is_floating_point():
        features = features + 0.0
    rows = features.contiguous().reshape(len(features), -1).view(torch.uint8).numpy()
    return [hashlib.sha256(about + row.tobytes()).hexdigest() for row in rows]
