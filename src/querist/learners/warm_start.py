"""Which weights an iteration begins with.

Shrink and perturb: Ash and Adams, On Warm-Starting Neural Network Training, 2020, arXiv:1910.08475.
"""

from __future__ import annotations

import torch


@torch.no_grad()
def shrink_and_perturb(
    module: torch.nn.Module, fresh: torch.nn.Module, *, shrink: float, perturb: float
) -> None:
    """Make every weight `shrink` times itself plus `perturb` times that of `fresh`, in place.

    Buffers, such as the statistics of batch normalization, are those of `fresh`: they go with no
    mixture of weights.
    """
    for mine, new in zip(module.parameters(), fresh.parameters(), strict=True):
        mine.mul_(shrink).add_(new.to(mine), alpha=perturb)
    for kept, other in zip(module.buffers(), fresh.buffers(), strict=True):
        kept.copy_(other)
