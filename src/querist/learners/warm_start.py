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

    Frozen weights stay as they are. Buffers, such as the statistics of batch normalization, are
    those of `fresh`, unless they belong to frozen weights: they go with no mixture of weights.
    """
    for part, new in zip(module.modules(), fresh.modules(), strict=True):
        weights = list(zip(part.parameters(False), new.parameters(False), strict=True))
        for mine, other in weights:
            if mine.requires_grad:
                mine.mul_(shrink).add_(other.to(mine), alpha=perturb)
        if not weights or any(mine.requires_grad for mine, _ in weights):
            for kept, statistic in zip(part.buffers(False), new.buffers(False), strict=True):
                kept.copy_(statistic)
