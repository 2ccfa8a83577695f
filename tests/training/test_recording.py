from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from querist.training.recording import (
    CaptureError,
    OperationGraph,
    Recording,
    _constant,
    interpreted,
)

REPOSITORY = Path(__file__).parents[2]


class Case:
    """A model, its optimizer and one batch, and steps on them."""

    def __init__(self, module: nn.Module, features: torch.Tensor, optimizer: str = "SGD") -> None:
        self.module = module
        self.features = features
        options: dict[str, Any] = {"SGD": {"momentum": 0.9}}.get(optimizer, {})
        kind = getattr(torch.optim, optimizer)
        self.optimizer = kind(module.parameters(), lr=0.01, fused=True, **options)
        self.step()  # now the optimizer has its state

    def step(self) -> torch.Tensor:
        for parameter in self.module.parameters():
            parameter.grad = None
        loss: torch.Tensor = self.module(self.features).square().mean()
        weights = list(self.module.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        with torch.no_grad():
            self.optimizer.step()
        return loss.detach()

    @property
    def inputs(self) -> list[torch.Tensor]:
        state = [
            value
            for weight in self.module.parameters()
            for value in self.optimizer.state[weight].values()
            if isinstance(value, torch.Tensor)
        ]
        weights = [t.detach() for t in (*self.module.parameters(), *self.module.buffers())]
        return [*weights, *state, self.features]

    def graph(self) -> OperationGraph:
        before = [t.clone() for t in self.inputs]
        random_state = torch.default_generator.get_state()
        return OperationGraph(Recording(self.step, self.inputs), before, random_state)


def rows(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 4, batch_first=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(features)[0][:, -1]
        return found


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(features)
        return found.softmax(-1).log()


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        first, second = self.words((features * 6).long()).mean(1).chunk(2, dim=1)
        out: torch.Tensor = self.out(torch.cat([second, first], 1))
        return out


MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1)), (6, 3)),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), (6, 3)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh()), (6, 3)),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(2 * 3 * 3, 2), nn.Sigmoid(),
        ),
        (4, 1, 8, 8),
    ),
    "recurrent": (Recurrent, (4, 5, 3)),
    "attention": (Attentive, (2, 3, 4)),
    "embedding": (Embedded, (4, 3)),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "Adagrad"])
@pytest.mark.parametrize("name", MODULES)
def test_a_replay_is_the_step_bit_for_bit(name: str, optimizer: str) -> None:
    make, shape = MODULES[name]

    def weights(replayed: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        case = Case(make(), rows(*shape), optimizer)
        if not replayed:
            losses = [case.step() for _ in range(4)]
        else:
            graph = case.graph()
            with interpreted():
                losses = [graph(case.inputs) for _ in range(3)]
            losses.insert(0, losses[0])  # the recorded one is the first
        return [*losses[1:], *case.module.state_dict().values()]

    eager, replayed = weights(False), weights(True)
    assert len(eager) == len(replayed)
    assert all(torch.equal(a, b) for a, b in zip(eager, replayed, strict=True))


def test_another_batch_is_learned_from() -> None:
    def trained(replayed: bool) -> torch.Tensor:
        torch.manual_seed(0)
        case = Case(nn.Linear(3, 1), rows(4, 3))
        graph = case.graph()
        *state, features = case.inputs
        with interpreted():
            for _ in range(3):
                features.mul_(0.5)
                if replayed:
                    graph([*state, features])
                else:
                    case.step()
        return case.module.weight.detach()  # type: ignore[return-value, operator]

    assert torch.equal(trained(True), trained(False))


def test_a_step_that_looks_at_values_is_refused() -> None:
    class Looking(nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            out = super().forward(features)
            return out * 2 if out.sum() > 0 else out

    with pytest.raises(CaptureError, match="_local_scalar_dense.* depends on values of the batch"):
        Case(Looking(3, 1), rows(4, 3)).graph()


def test_a_step_with_shapes_of_its_values_is_refused() -> None:
    class Choosing(nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return super().forward(features[features[:, 0] > 0.3])

    with pytest.raises(CaptureError, match="depends on values of the batch"):
        Case(Choosing(3, 1), rows(4, 3)).graph()


def test_a_replay_that_differs_is_refused() -> None:
    class Counting(nn.Linear):
        calls = 0

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(features) + features.new_tensor(float(self.calls))

    case = Case(Counting(3, 1), rows(4, 3))
    before = [t.clone() for t in case.inputs]
    recording = Recording(case.step, case.inputs)
    before[0] += 1
    with pytest.raises(CaptureError, match="its replay differs from the step itself"):
        OperationGraph(recording, before, torch.default_generator.get_state())


def test_no_graph_runs_where_torchscript_would_leave_operations_out() -> None:
    case = Case(nn.Linear(3, 1), rows(4, 3))
    graph = case.graph()
    with pytest.raises(RuntimeError, match=r"inside of `interpreted\(\)` only"):
        graph(case.inputs)


def test_capturing_imports_no_compiler() -> None:
    code = """
import sys
from tests.training.test_recording import Case, nn, rows
case = Case.__new__(Case)
case.module, case.features = nn.Linear(3, 1), rows(4, 3)
from querist.training.optimizers import build_optimizer
import torch
case.optimizer = build_optimizer("SGD", {"lr": 0.1}, case.module, None, device=torch.device("cpu"))
from querist.training.optimizers import bare_step
case.optimizer.step = bare_step(case.optimizer)
case.step()
case.graph()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_capturing_draws_nothing_from_the_generator() -> None:
    torch.manual_seed(0)
    case = Case(nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5)), rows(4, 3))
    before = torch.default_generator.get_state()
    case.step()
    once = torch.default_generator.get_state()
    torch.default_generator.set_state(before)
    case.graph()
    assert torch.equal(torch.default_generator.get_state(), once)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [(1e-8, "float", "value=1.e-08"), (3, "float", "value=3.0"), (True, "bool", "value=1"),
     (torch.bfloat16, "int", "value=15"), (torch.device("cpu"), "Device", 'value="cpu"'),
     (None, "Tensor", "Constant()"), ("mean", "str", 'value="mean"')],
)  # fmt: skip
def test_constants(value: Any, kind: str, text: str) -> None:
    assert text in _constant(value, kind)[1]


@pytest.mark.parametrize("value", [float("inf"), torch.Generator(), 'a"b', 1j])
def test_what_cannot_be_written_down(value: Any) -> None:
    with pytest.raises(CaptureError, match="cannot be written down"):
        _constant(value, "float")
