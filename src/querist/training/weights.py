"""Weights and training state as bytes that hold no code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

WEIGHTS = "weights.safetensors"
TRAINING_STATE = "training_state.pt"


def weights_to_bytes(module: torch.nn.Module) -> bytes:
    """The module's parameters and buffers as safetensors."""
    # Clones, because safetensors refuses tensors that share memory (tied weights).
    state = module.state_dict()
    return save_safetensors({k: v.detach().cpu().clone().contiguous() for k, v in state.items()})


def weights_from_bytes(module: torch.nn.Module, content: bytes) -> None:
    """The inverse of `weights_to_bytes`."""
    module.load_state_dict(load_safetensors(content))


def state_to_bytes(state: Mapping[str, Any]) -> bytes:
    """Tensors and plain values, readable with `weights_only=True`."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def state_from_bytes(content: bytes) -> dict[str, Any]:
    """The inverse of `state_to_bytes`; runs no code from the file."""
    return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
