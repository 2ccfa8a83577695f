from __future__ import annotations

import pytest
import torch
from torch import nn

from querist.errors import LearnerError
from querist.learners.last_layer import LastLayer

FEATURES = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


class Squeezed(nn.Module):
    """Its head is made first and called last; its outputs are `(n,)`."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.head = nn.Linear(5, 1, bias=bias)
        self.body = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).tanh()).squeeze(1)


@pytest.mark.parametrize("bias", [True, False])
def test_inputs_and_outputs_of_the_head(bias: bool) -> None:
    module = Squeezed(bias)
    layer = LastLayer(module, FEATURES[:1])
    assert (layer.inputs, layer.outputs) == (5 + bias, 1)
    inputs, outputs = layer.passed(FEATURES)
    weights = torch.cat([p.reshape(1, -1) for p in module.head.parameters()], dim=1).detach()
    torch.testing.assert_close(inputs @ weights.T, outputs)
    torch.testing.assert_close(outputs[:, 0], module(FEATURES))
    assert layer.squared_norm() == pytest.approx(float(weights.square().sum()))
    assert not module.head._forward_pre_hooks
    assert not module.head._forward_hooks


def test_dropout_after_the_head_is_no_matter() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    assert LastLayer(module, FEATURES[:1]).outputs == 3


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)),
        nn.Sequential(nn.Flatten(), nn.Tanh()),
        nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3), nn.Flatten()),
    ],
)
def test_models_that_end_in_something_else(module: nn.Module) -> None:
    with pytest.raises(LearnerError, match="need a model whose outputs are those of an"):
        LastLayer(module, FEATURES[:1])
