"""Mixed precision: where a step computes in half precision, and how its loss is scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from querist.config.training import TrainingConfig

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_of(
    settings: TrainingConfig, device: torch.device
) -> Callable[[], AbstractContextManager[object]] | None:
    """What to compute a loss inside of; None where that is nothing."""
    if settings.mixed_precision is None:
        return None
    half = _HALVES[settings.mixed_precision]
    return lambda: torch.autocast(device.type, half)


def scaler_of(settings: TrainingConfig, device: torch.device) -> torch.amp.GradScaler | None:
    """What scales the loss, so that small gradients do not vanish in fp16; None for bf16."""
    return torch.amp.GradScaler(device.type) if settings.mixed_precision == "fp16" else None


@contextmanager
def tensor_cores(settings: TrainingConfig) -> Iterator[None]:
    """Inside, float32 matrices and convolutions are computed in TF32 if the settings say so."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    # By torch's default convolutions use TF32 even where matrices do not.
    torch.backends.cudnn.allow_tf32 = settings.tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
