"""The last layer of a module, and what goes into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from querist.errors import LearnerError


class LastLayer:
    """The `nn.Linear` whose outputs are those of a module, found by passing a sample.

    Args:
        module: the module.
        sample: features of one sample `(1, ...)`, on the module's device.

    Raises:
        LearnerError: the module's outputs are not those of a linear layer.
    """

    def __init__(self, module: nn.Module, sample: torch.Tensor) -> None:
        self._module = module
        self._layer = _find(module, sample)

    @property
    def layer(self) -> nn.Linear:
        """The layer, a part of the module."""
        return self._layer

    @property
    def outputs(self) -> int:
        """Numbers that it gives."""
        return self._layer.out_features

    @property
    def inputs(self) -> int:
        """Numbers that it is given, a 1 for the bias among them."""
        return self._layer.in_features + (self._layer.bias is not None)

    def squared_norm(self) -> float:
        """Of the weights and the bias."""
        return sum(float(p.detach().double().square().sum()) for p in self._layer.parameters())

    def passed(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the layer `(n, d)`, a 1 for the bias last, and outputs `(n, c)`."""
        inputs, outputs = self.inside(features)
        if self._layer.bias is not None:
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        return inputs, outputs

    def inside(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the layer `(n, d)` as they are, and outputs `(n, c)`."""
        seen: list[torch.Tensor] = []
        hook = self._layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
        try:
            outputs = self._module(features)
        finally:
            hook.remove()
        # A module that cannot take no rows may pass one of its own.
        return seen[-1][: len(features)], outputs.reshape(len(features), self.outputs)


def _find(module: nn.Module, sample: torch.Tensor) -> nn.Linear:
    seen: list[tuple[nn.Linear, torch.Tensor, torch.Tensor]] = []

    def hook(layer: Any, given: Any, output: torch.Tensor) -> None:
        seen.append((layer, given[0], output))

    hooks = [m.register_forward_hook(hook) for m in module.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.no_grad():
            outputs = module.eval()(sample)
    finally:
        for made in hooks:
            made.remove()
    for layer, given, output in reversed(seen):
        same = output.numel() == outputs.numel() and torch.equal(
            output.reshape(-1), outputs.reshape(-1)
        )
        if same and given.ndim == 2:
            return layer
    raise LearnerError(
        "embeddings and laplace need a model whose outputs are those of an nn.Linear of inputs "
        f"(n, d), and {type(module).__name__} does something else at its end: let it end in one, "
        "and give logits"
    )
