"""The device that work is done on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Inside, this GPU is the current one: streams, events and captures belong to it."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
