"""A label for any image of 64 pixels, also for one that no pool holds."""

from __future__ import annotations

import torch

from examples.strategies.pools import digit_classes


def nearest_digit(pixels: torch.Tensor) -> int:
    """The class of the digit that is nearest to `pixels` `(64,)`."""
    pool = digit_classes()
    everything = torch.arange(len(pool))
    nearest = (pool.features(everything) - pixels).square().sum(1).argmin()
    return int(pool.targets(nearest[None]))
