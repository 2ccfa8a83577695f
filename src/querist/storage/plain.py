"""Nested Python values with tensors as JSON, and back, without pickle."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

_TENSOR, _ARRAY, _TUPLE = "__tensor__", "__array__", "__tuple__"


def to_plain(value: Any) -> Any:
    """`value` as something that JSON can hold.

    Raises:
        TypeError: it holds something other than numbers, text, None, tensors, arrays, lists,
            tuples and dictionaries with text keys.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return {_TENSOR: _text(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {_ARRAY: _text(torch.from_numpy(np.array(value, order="C")))}
    if isinstance(value, tuple):
        return {_TUPLE: [to_plain(part) for part in value]}
    if isinstance(value, list):
        return [to_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: to_plain(part) for key, part in value.items()}
    raise TypeError(
        f"a {type(value).__name__} cannot be stored: use numbers, text, tensors, arrays, lists, "
        "tuples and dictionaries"
    )


def from_plain(plain: Any) -> Any:
    """The inverse of `to_plain`."""
    if isinstance(plain, list):
        return [from_plain(part) for part in plain]
    if isinstance(plain, dict):
        if _TENSOR in plain:
            return _tensor(plain[_TENSOR])
        if _ARRAY in plain:
            return _tensor(plain[_ARRAY]).numpy()
        if _TUPLE in plain:
            return tuple(from_plain(part) for part in plain[_TUPLE])
        return {key: from_plain(part) for key, part in plain.items()}
    return plain


def to_bytes(value: Any) -> bytes:
    """`value` as JSON."""
    return json.dumps(to_plain(value)).encode()


def from_bytes(content: bytes) -> Any:
    """The inverse of `to_bytes`."""
    return from_plain(json.loads(content))


def digest_of(value: Any) -> str:
    """SHA-256 of `value` as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(to_plain(value), sort_keys=True).encode()).hexdigest()


def _text(tensor: torch.Tensor) -> str:
    content = save_safetensors({"value": tensor.detach().cpu().clone().contiguous()})
    return base64.b64encode(content).decode()


def _tensor(text: str) -> torch.Tensor:
    return load_safetensors(base64.b64decode(text))["value"]
