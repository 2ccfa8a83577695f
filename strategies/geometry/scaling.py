"""Powers of two that bring numbers near 1: multiplying by one rounds nothing."""

from __future__ import annotations

import math

import torch

SAFE = 2.0**20
"""Squares and products of numbers up to this, and down to its inverse, fit into float32."""


def exact_scale(*values: torch.Tensor | None) -> float:
    """What to multiply numbers by so that the largest is about 1; 1 where it need not be moved.

    Args:
        values: tensors of any shape that are to have one scale, the first in the type that they
            are multiplied in; None counts as nothing.
    """
    first = values[0]
    # A type has 2 to this power, and its inverse.
    reach = 1000 if first is not None and first.dtype is torch.float64 else 120
    largest = 0.0
    for some in values:
        if some is not None and some.numel():
            low, high = some.aminmax()
            largest = max(largest, -float(low), float(high))
    if not 0 < largest < math.inf or 1 / SAFE <= largest <= SAFE:
        return 1.0
    return 2.0 ** max(-reach, min(reach, -math.frexp(largest)[1]))


def scaled(x: torch.Tensor, scale: float) -> torch.Tensor:
    """Numbers times `scale`; themselves where it is 1, without a copy."""
    return x if scale == 1 else x * scale
