"""Dropout with masks that stay: the same for every row, the same again in every pass.

Such consistent masks make a draw of dropout one model, which says of each row what it would say of
it among others (Kirsch, van Amersfoort and Gal, BatchBALD, 2019, arXiv:1906.08158, section 3.3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from querist.randomness import derive_seed

_BY_CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
_ALPHA = (nn.AlphaDropout, nn.FeatureAlphaDropout)
DROPOUT = (nn.Dropout, nn.AlphaDropout, *_BY_CHANNEL)
# What a dropped unit of a self-normalizing network becomes (Klambauer et al., 2017).
_SATURATED = -1.0507009873554805 * 1.6732632423543772


def dropout_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The dropout layers of a module that drop anything, by name."""
    return {n: m for n, m in module.named_modules() if isinstance(m, DROPOUT) and m.p > 0}


class Masks:
    """Masks of every dropout layer of a module, drawn from a seed when they are first needed.

    A layer's mask has the shape of its input without the first dimension, which counts samples. A
    layer that is passed several times has a mask for each time.

    Args:
        module: the module, in evaluation mode when it is passed.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = dropout_layers(module)
        self._encoders = [m for m in module.modules() if isinstance(m, nn.TransformerEncoder)]
        self._drawn: dict[tuple[Any, ...], torch.Tensor] = {}

    @contextmanager
    def held(self, seed: int) -> Iterator[None]:
        """Inside, one pass of the module drops what the masks of `seed` say."""
        passed: Counter[str] = Counter()
        hooks = [
            layer.register_forward_hook(self._hook(name, seed, passed))
            for name, layer in self._layers.items()
        ]
        # With a padding mask they would pass on nested tensors, which have no shape for a mask.
        nested = [encoder.use_nested_tensor for encoder in self._encoders]
        for encoder in self._encoders:
            encoder.use_nested_tensor = False
        try:
            yield
        finally:
            for encoder, before in zip(self._encoders, nested, strict=True):
                encoder.use_nested_tensor = before
            for hook in hooks:
                hook.remove()

    def forget(self) -> None:
        """Masks of other seeds will be asked for from now on."""
        self._drawn.clear()

    def _hook(self, name: str, seed: int, passed: Counter[str]) -> Any:
        def hook(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            mask = self._mask(layer, output, (seed, name, passed[name]))
            passed[name] += 1
            return _dropped(layer, output, mask)

        return hook

    def _mask(self, layer: Any, output: torch.Tensor, key: tuple[int, str, int]) -> torch.Tensor:
        """What is kept, as booleans `(1, ...)`."""
        shape = (1, *output.shape[1:])
        if isinstance(layer, _BY_CHANNEL):
            shape = (*shape[:2], *(1 for _ in shape[2:]))
        full = (*key, shape, output.device)
        if full not in self._drawn:
            seed, name, number = key
            purpose = f"{name} {number} {list(shape)}"
            drawn = torch.Generator().manual_seed(derive_seed(seed, 0, "predict", purpose))
            kept = torch.rand(shape, generator=drawn) >= layer.p
            self._drawn[full] = kept.to(output.device)
        return self._drawn[full]


def _dropped(layer: Any, output: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The layer's input, which in evaluation mode is its output, with what is not kept dropped."""
    p: float = layer.p
    if not isinstance(layer, _ALPHA):
        scale = 0.0 if p == 1 else 1 / (1 - p)
        mask: torch.Tensor = (kept * scale).to(output.dtype)
        return output * mask
    if p == 1:
        return torch.zeros_like(output)
    a = 1 / math.sqrt((1 - p) * (1 + p * _SATURATED**2))
    b = -a * p * _SATURATED
    return torch.where(kept, output, torch.full_like(output, _SATURATED)) * a + b
