"""Members in one pass are what they are alone."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import torch
from torch import nn

from querist.learners.stacked import ELEMENTWISE, StackedMembers, why_not_stacked, with_counts
from querist.training.optimizers import build_optimizer, find_optimizer
from querist.training.repeatable import unrepeatable
from querist.values import Task

FEATURES = torch.rand(12, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.arange(12) % 3


def members(number: int = 3, make: Any = None, width: int = 3) -> list[nn.Module]:
    made = []
    for seed in range(number):
        torch.manual_seed(seed)
        made.append(
            make() if make else nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, width))
        )
    return made


def stack(modules: list[nn.Module], loss: str = "cross_entropy", **more: Any) -> StackedMembers:
    task = Task.CLASSIFICATION if loss in ("cross_entropy", "bce_with_logits") else Task.REGRESSION
    return StackedMembers(modules, loss=loss, task=task, **more)


def why_not(modules: list[nn.Module], sample: torch.Tensor = FEATURES[:1]) -> str | None:
    return why_not_stacked(modules, sample, device=torch.device("cpu"), dtype=torch.float32)


def test_outputs_are_the_members_own() -> None:
    modules = members()
    alone = torch.stack([module(FEATURES) for module in modules])
    torch.testing.assert_close(stack(modules).outputs(FEATURES), alone)


def test_the_members_are_left_as_they_are() -> None:
    modules = members()
    before = [p.clone() for m in modules for p in m.parameters()]
    whole = stack(modules)
    whole.training_step((FEATURES, TARGETS)).backward()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(1)
    assert all(map(torch.equal, before, (p for m in modules for p in m.parameters())))


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_training_in_one_pass_is_training_each_alone(name: str) -> None:
    modules = members()
    whole = stack(modules)
    optimizers = [
        build_optimizer(name, {"lr": 0.01}, module, None, device=torch.device("cpu"))
        for module in [*modules, whole]
    ]
    for _ in range(4):
        losses = [nn.functional.cross_entropy(m(FEATURES), TARGETS) for m in modules]
        together = whole.training_step((FEATURES, TARGETS))
        torch.testing.assert_close(together, torch.stack(losses).mean())
        for loss, optimizer in zip([*losses, together], optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    alone = torch.stack([module(FEATURES) for module in modules])
    torch.testing.assert_close(whole.outputs(FEATURES), alone, rtol=1e-4, atol=1e-5)


def test_known_optimizers() -> None:
    assert {find_optimizer(name).__name__.lower() for name in ELEMENTWISE} == ELEMENTWISE


def test_the_whole_gives_logits_of_mean_probabilities() -> None:
    modules = members()
    mean = torch.stack([module(FEATURES).softmax(1) for module in modules]).mean(0)
    torch.testing.assert_close(stack(modules)(FEATURES).softmax(1), mean)
    modules = members(width=1)
    mean = torch.stack([module(FEATURES).sigmoid() for module in modules]).mean(0)
    outputs = stack(modules, "bce_with_logits")(FEATURES)
    assert outputs.shape == (12, 1)
    torch.testing.assert_close(outputs.sigmoid(), mean)
    torch.testing.assert_close(
        stack(modules, "mse")(FEATURES), torch.stack([m(FEATURES) for m in modules]).mean(0)
    )


@pytest.mark.parametrize(
    ("loss", "width"), [("cross_entropy", 3), ("bce_with_logits", 1), ("mse", 1)]
)
def test_counts_weigh_each_members_losses(loss: str, width: int) -> None:
    modules = members(2, width=width)
    whole = stack(modules, loss, bootstrap=True)
    targets = {"cross_entropy": TARGETS, "bce_with_logits": TARGETS % 2, "mse": FEATURES.sum(1)}[
        loss
    ]
    counts = torch.zeros(2, 12, dtype=torch.int64)
    counts[0, 0] = 12  # one row twelve times
    counts[1] = 1  # every row once
    value = whole.training_step((FEATURES, with_counts(targets, counts)))
    plain = stack(modules, loss)
    one = stack([modules[0]] * 2, loss).validation_step((FEATURES[:1], targets[:1]))
    every = stack([modules[1]] * 2, loss).validation_step((FEATURES, targets))
    torch.testing.assert_close(value, (one + every) / 2)
    assert plain.validation_step((FEATURES, targets)) != value


def test_counts_of_targets_with_several_numbers() -> None:
    modules = members(2, width=3)
    targets, counts = torch.rand(12, 3), torch.ones(2, 12)
    value = stack(modules, "mse", bootstrap=True).training_step(
        (FEATURES, with_counts(targets, counts))
    )
    torch.testing.assert_close(value, stack(modules, "mse").training_step((FEATURES, targets)))


def test_masks_of_dropout_are_each_members_own() -> None:
    module = members(1)[0]
    whole = stack([nn.Sequential(module, nn.Dropout(0.5)) for _ in range(2)]).train()
    first, second = whole.outputs(FEATURES)
    assert not torch.equal(first == 0, second == 0)


class Tied(nn.Module):
    """One weight under two names, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)
        self.out.weight = self.into.weight
        self.register_buffer("scale", torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.into(x).tanh()) * self.scale


def test_tied_weights_and_buffers() -> None:
    modules = members(make=Tied)
    assert why_not(modules) is None
    whole = stack(modules)
    assert whole.member.out.weight is whole.member.into.weight
    assert sum(p.numel() for p in whole.parameters()) == 3 * (16 + 4 + 4)
    torch.testing.assert_close(
        whole.outputs(FEATURES), torch.stack([module(FEATURES) for module in modules])
    )


def test_frozen_weights_stay_frozen() -> None:
    modules = members()
    for module in modules:
        module[0].requires_grad_(False)
    assert [p.requires_grad for p in stack(modules).parameters()] == [False, False, True, True]


class Moody(nn.Module):
    """Looks at its data before it decides."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.layer(x)
        return -found if found.sum() > 0 else found


class Stepping(nn.Linear):
    """Has a step of its own."""

    def training_step(self, batch: Any) -> torch.Tensor:
        raise NotImplementedError


class Counting(nn.Module):
    """Counts what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.add_(len(x))
        return self.layer(x)


class Remembering(nn.Module):
    """Has a weight that nobody knows of, so that a stack would use the first member's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.own = torch.rand(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x @ self.own


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Moody, "torch.func cannot batch Moody: .*data-dependent control flow"),
        (lambda: Stepping(4, 3), "Stepping has its own training_step"),
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
            "Sequential keeps statistics in 1.running_mean while it learns",
        ),
        (Counting, "Counting keeps statistics in seen while it learns"),
        (Remembering, "Remembering gives something else in a batched pass"),
    ],
)
def test_members_that_cannot_be_batched(make: Any, reason: str) -> None:
    found = why_not(members(make=make))
    assert found is not None
    assert re.match(reason, found), found


def test_trying_leaves_the_members_and_global_randomness_alone() -> None:
    modules = members(make=lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)))
    before = torch.random.get_rng_state()
    weights = [p.clone() for m in modules for p in m.parameters()]
    assert why_not(modules) is None
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, weights, (p for m in modules for p in m.parameters())))
    assert all(p.grad is None for m in modules for p in m.parameters())


class Drawing(nn.Module):
    """Draws in Python, where a capture does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * random.random()


def test_a_step_repeats_where_the_members_do() -> None:
    assert unrepeatable(stack(members())) is None
    reason = unrepeatable(stack(members(make=Drawing)))
    assert reason == "forward of Drawing uses random"


def test_images_and_tokens_can_be_tried() -> None:
    def convolution() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))

    def tokens() -> nn.Module:
        return nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Flatten(), nn.Linear(24, 3))

    assert why_not(members(make=convolution), torch.zeros(1, 1, 8, 8)) is None
    assert why_not(members(make=tokens), torch.zeros(1, 6, dtype=torch.int64)) is None
