from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, UnknownNameError
from querist.training.optimizers import (
    _optimizers,
    _schedulers,
    bare_step,
    build_optimizer,
    build_scheduler,
    check_optimizer,
    check_scheduler,
)

NOT_FOR_DENSE_VECTORS = {"SparseAdam", "Muon"}  # sparse gradients only, matrices only
DENSE = sorted(set(_optimizers()) - NOT_FOR_DENSE_VECTORS)
SCHEDULERS: dict[str, dict[str, Any]] = {
    "ConstantLR": {},
    "CosineAnnealingLR": {"T_max": 6},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "ExponentialLR": {"gamma": 0.8},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [2, 4]},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 6},
    "PolynomialLR": {},
    "ReduceLROnPlateau": {"patience": 0, "threshold": 0.5},
    "StepLR": {"step_size": 2},
}
FEATURES = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
TARGETS = FEATURES.sum(1, keepdim=True)


CPU = torch.device("cpu")


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def gradients(model: nn.Module) -> torch.Tensor:
    model.zero_grad()
    loss = nn.functional.mse_loss(model(FEATURES), TARGETS)
    loss.backward()
    return loss


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", DENSE)
def test_every_optimizer_is_built_and_steps(name: str, device: str) -> None:
    check_optimizer(name, {})
    model = module()
    optimizer = build_optimizer(name, {}, model, 0.01, device=torch.device(device))
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(3):
        optimizer.step(lambda: gradients(model))
    after = list(model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", sorted(set(DENSE) - {"LBFGS"}))
def test_the_bare_step_is_the_step_bit_for_bit(name: str) -> None:
    found = []
    for bare in (True, False):
        model = module()
        optimizer = build_optimizer(name, {}, model, None, device=CPU)
        step = bare_step(optimizer) if bare else optimizer.step
        for _ in range(5):
            gradients(model)
            with torch.no_grad():
                step()
        found.append([*model.state_dict().values(), *_tensors(optimizer.state_dict())])
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [t for part in parts for t in _tensors(part)]


def test_a_hooked_optimizer_keeps_its_own_step() -> None:
    model = module()
    optimizer = build_optimizer("SGD", {}, model, 0.1, device=CPU)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    gradients(model)
    bare_step(optimizer)()
    assert calls == [1]


def test_an_optimizer_that_is_not_torchs_keeps_its_own_step() -> None:
    class Mine(torch.optim.SGD):
        pass

    optimizer = Mine(module().parameters())
    assert bare_step(optimizer) == optimizer.step


def test_names_in_any_case() -> None:
    model = module()
    assert type(build_optimizer("sgd", {}, model, 0.1, device=CPU)).__name__ == "SGD"
    assert TrainingConfig(optimizer="adamw").optimizer.name == "adamw"


def test_the_learning_rate_replaces_the_option() -> None:
    options = {"lr": 0.5, "momentum": 0.9}
    optimizer = build_optimizer("SGD", options, module(), 0.25, device=CPU)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert optimizer.param_groups[0]["momentum"] == 0.9
    assert build_optimizer("SGD", options, module(), None, device=CPU).param_groups[0]["lr"] == 0.5


def test_the_user_decides_on_foreach() -> None:
    def foreach(options: dict[str, Any]) -> Any:
        return build_optimizer(
            "Adam", options, module(), None, device=CPU
        ).param_groups[0]["foreach"]

    assert foreach({}) is None, "it is fused"
    assert foreach({"foreach": True}) is True


def test_what_an_optimizer_refuses() -> None:
    with pytest.raises(UnknownNameError, match="no optimizer named 'Adma': did you mean"):
        check_optimizer("Adma", {})
    with pytest.raises(UnknownNameError, match="did you mean 'momentum'"):
        check_optimizer("SGD", {"momentun": 0.9})
    with pytest.raises(UnknownNameError, match="option of optimizer SGD named 'params'"):
        check_optimizer("SGD", {"params": []})
    for lr in (0, -1, True, "0.1", [0.1]):
        with pytest.raises(ConfigurationError, match="lr must be a number above 0"):
            check_optimizer("SGD", {"lr": lr})
    with pytest.raises(ConfigurationError, match="must be finite"):
        check_optimizer("SGD", {"weight_decay": float("nan")})
    with pytest.raises(ConfigurationError, match=r"Adam refused its options: .*[Bb]eta"):
        build_optimizer("Adam", {"betas": [2.0, 0.9]}, module(), None, device=CPU)
    with pytest.raises(ConfigurationError, match="Muon refused"):
        build_optimizer("Muon", {}, module(), None, device=CPU)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_are_built_and_step(name: str) -> None:
    check_scheduler(name, SCHEDULERS[name])
    model = module()
    optimizer = build_optimizer("SGD", {"momentum": 0.9}, model, 0.1, device=CPU)
    scheduler = build_scheduler(name, SCHEDULERS[name], optimizer)
    rates = set()
    for _ in range(5):
        gradients(model)
        optimizer.step()
        scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        rates.add(optimizer.param_groups[0]["lr"])
    assert len(rates) > 1


def test_what_a_scheduler_refuses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'StepLR'"):
        check_scheduler("StpLR", {})
    with pytest.raises(UnknownNameError, match="did you mean 'step_size'"):
        check_scheduler("StepLR", {"stepsize": 2})
    with pytest.raises(UnknownNameError, match="named 'last_epoch'"):
        check_scheduler("StepLR", {"last_epoch": 2})
    optimizer = build_optimizer("SGD", {}, module(), 0.1, device=CPU)
    with pytest.raises(ConfigurationError, match="StepLR refused its options"):
        build_scheduler("StepLR", {}, optimizer)
    assert "StepLR" in _schedulers()
