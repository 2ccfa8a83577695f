from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import torch
from torch import nn

from querist.pools import LabeledSet, TensorPool
from querist.training.captures import Captures

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(200, 2, generator=GENERATOR)
CLASSES = (FEATURES.sum(1) > 0).long()


def labeled(n: int = 200) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), CLASSES[:n])


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.2),
                         nn.Linear(8, 2))  # fmt: skip


def weights(found: Any) -> list[torch.Tensor]:
    return list(found.module.state_dict().values())


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


OPTIMIZERS = [
    {"name": "SGD", "options": {"lr": 0.1}},
    {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9, "nesterov": True}},
    {"name": "AdamW", "options": {"lr": 0.01}},
    {"name": "Adam", "options": {"lr": 0.01, "foreach": True}},
    {"name": "RMSprop", "options": {"lr": 0.01}},
    {"name": "Adadelta", "options": {}},
]


ONE_CYCLE = {"max_lr": 0.1, "total_steps": 9, "cycle_momentum": False}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"scheduler": {"name": "CosineAnnealingLR", "options": {"T_max": 8}}},
        {"scheduler": {"name": "OneCycleLR", "options": ONE_CYCLE}},
        {"clip_grad_norm": 0.1},
        {"mixed_precision": "bf16"},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_captured_and_eager_training_agree_bit_for_bit(
    job: Any, learner: Any, optimizer: Any, more: dict[str, Any]
) -> None:
    def trained(capture: bool) -> tuple[list[torch.Tensor], list[Any]]:
        made = learner(model, static_capture=capture, dtype=more.get("dtype", "float32"))
        settings = {"optimizer": optimizer, "static_capture": capture, "max_training_epochs": 8}
        reports = [
            made.fit(labeled(n), job(iteration=i, batch_size=16, **settings, **more))
            for i, n in enumerate((150, 170, 200))
        ]
        return weights(made), reports

    (captured, reports), (eager, _) = trained(True), trained(False)
    assert same(captured, eager)
    taken = [report.captured for report in reports]
    fused = optimizer["name"] in ("SGD", "AdamW")
    if "dtype" in more:
        plain = optimizer["options"] == {"lr": 0.1}
        assert taken[0] is True if plain else "half" in taken[0] or "values" in taken[0], taken
    elif "scheduler" in more and not fused:
        assert taken[0] == "no shape of batches came often enough", "each rate is another step"
    elif optimizer["options"].get("foreach"):  # it counts steps in Python
        assert "depends on values" in taken[0], taken
    else:
        assert taken == [True, True, True]


def test_by_default_a_small_plain_model_is_captured(job: Any, learner: Any) -> None:
    made = learner(model)
    report = made.fit(labeled(), job(max_training_epochs=10))
    assert report.captured is True
    assert set(report.seconds) >= {"data", "forward", "backward", "optimizer", "capture"}
    assert all(seconds > 0 for seconds in report.seconds.values())
    assert report.samples == 10 * 200


class Moody(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(features)
        return out * (1 + random.random() / 10)


@pytest.mark.parametrize(
    ("make", "settings", "reason"),
    [
        (model, {"static_capture": False}, "training.static_capture is false"),
        (Moody, {}, "forward of Moody uses random"),
        (lambda: nn.Sequential(nn.Linear(2, 40000), nn.Linear(40000, 2)), {},
         "with 200,002 weights there is little to gain on a CPU"),
        (model, {"static_capture": True, "accumulate_batches": 2},
         "gradients of several batches are averaged"),
        (model, {"static_capture": True, "optimizer": "LBFGS"},
         "LBFGS evaluates a batch as often as it likes"),
        (model, {"static_capture": True, "mixed_precision": "fp16"},
         "the scaling of fp16 looks at the gradients"),
        (model, {"static_capture": True, "optimizer": "NAdam"},
         "aten._local_scalar_dense.default depends on values of the batch or of the weights"),
    ],
)  # fmt: skip
def test_why_nothing_is_captured(
    job: Any, learner: Any, make: Any, settings: Any, reason: str, caplog: Any
) -> None:
    made = learner(make)
    with caplog.at_level(logging.INFO, "querist"):
        for iteration in (0, 1):
            report = made.fit(
                labeled(), job(iteration=iteration, max_training_epochs=4, **settings)
            )
            assert report.captured == reason
    said = [record for record in caplog.records if reason in record.getMessage()]
    assert len(said) == 1, "once per learner"
    asked_for = settings.get("static_capture") is True
    assert said[0].levelno == (logging.WARNING if asked_for else logging.INFO)


def test_python_that_changes_is_not_captured_unasked(job: Any, learner: Any) -> None:
    def trained(**settings: Any) -> list[torch.Tensor]:
        made = learner(Moody)
        made.fit(labeled(), job(max_training_epochs=10, **settings))
        return weights(made)

    assert same(trained(), trained(static_capture=False))


class Annealed(nn.Module):
    """Its penalty grows with every validation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.epoch = nn.Linear(2, 2), 0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(features)
        return out

    def training_step(self, batch: Any) -> torch.Tensor:
        features, targets = batch
        loss = nn.functional.cross_entropy(self(features), targets)
        return loss + self.epoch * self.layer.weight.square().sum()

    def validation_step(self, batch: Any) -> torch.Tensor:
        self.epoch += 1
        features, targets = batch
        return nn.functional.cross_entropy(self(features), targets)


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(4, 8, sparse=True), nn.Linear(8, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.words((features[:, 0] > 0).long()))
        return out


class Rebound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("center", torch.zeros(2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(features)
        if self.training:
            self.center = 0.9 * self.center + 0.1 * out.detach().mean(0)
        return out - self.center


def shorten(weight: torch.Tensor) -> None:
    assert weight.grad is not None
    weight.grad.clamp_(-1e-3, 1e-3)


def hooked() -> nn.Module:
    module = model()
    for weight in module.parameters():
        weight.register_post_accumulate_grad_hook(shorten)
    return module


class Drifting(nn.Module):
    """Does something else each time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.steps: list[int] = []

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.steps.append(1)
        out: torch.Tensor = self.layer(features)
        return out * (1.0 + len(self.steps) / 1000)


@pytest.mark.parametrize(
    ("make", "capture", "reason"),
    [
        (Annealed, "auto", "no shape of batches came often enough"),
        (Sparse, "auto", "recording failed: copy_() between dense and sparse"),
        (Rebound, True, "puts other tensors in the place of buffers or weights"),
        (hooked, True, "has hooks on its gradient"),
    ],
)
def test_what_cannot_be_captured_trains_as_it_would_without(
    job: Any, learner: Any, make: Any, capture: Any, reason: str
) -> None:
    def trained(capture: Any) -> tuple[list[torch.Tensor], Any]:
        made = learner(make)
        settings = {"optimizer": OPTIMIZERS[0], "max_training_epochs": 6}
        report = made.fit(
            labeled(), job(validation=labeled(20), static_capture=capture, **settings)
        )
        return weights(made), report.captured

    (captured, why), (eager, _) = trained(capture), trained(False)
    assert same(captured, eager)
    assert reason in why


def test_a_step_that_differs_from_itself_is_found_out(job: Any, learner: Any) -> None:
    report = learner(Drifting).fit(labeled(), job(max_training_epochs=6, static_capture=True))
    assert report.captured == "what was recorded differs from the step itself"


def test_what_was_captured_is_used_again(job: Any, learner: Any) -> None:
    made = learner(model)
    made.fit(labeled(), job(max_training_epochs=10))
    graphs = dict(made._captures.graphs)
    assert graphs
    report = made.fit(labeled(), job(iteration=1, max_training_epochs=1))
    assert report.captured is True
    assert "capture" not in report.seconds
    assert made._captures.graphs == graphs


def test_each_shape_is_captured_for_itself(job: Any, learner: Any) -> None:
    made = learner(model)
    made.fit(labeled(200), job(max_training_epochs=40, batch_size=16))
    assert len(made._captures.graphs) == 2, "batches of 16, and the last one of 8"
    made.fit(labeled(200), job(iteration=1, max_training_epochs=40, batch_size=50))
    assert len(made._captures.graphs) == 3


@pytest.mark.parametrize(
    "change",
    [{"optimizer": "Adam"}, {"clip_grad_norm": 1.0},
     {"optimizer": {"name": "SGD", "options": {"lr": 0.1, "weight_decay": 0.1}}}],
    ids=str,
)  # fmt: skip
def test_other_settings_are_captured_anew(job: Any, learner: Any, change: Any) -> None:
    def trained(capture: bool) -> list[torch.Tensor]:
        made = learner(model)
        sgd = {"optimizer": {"name": "SGD", "options": {"lr": 0.1}}, "static_capture": capture}
        made.fit(labeled(), job(max_training_epochs=6, **sgd))
        made.fit(labeled(), job(iteration=1, max_training_epochs=6, **{**sgd, **change}))
        return weights(made)

    assert same(trained(True), trained(False))


def test_a_learner_keeps_only_so_many(
    job: Any, learner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("querist.training.capture.MOST_GRAPHS", 1)
    made = learner(model)
    made.fit(labeled(200), job(max_training_epochs=40, batch_size=16))
    assert len(made._captures.graphs) == 1


def test_a_frozen_layer_stays_as_it_is(job: Any, learner: Any) -> None:
    made = learner(model)
    made.module[0].requires_grad_(False)
    before = made.module[0].weight.clone()
    assert made.fit(labeled(), job(max_training_epochs=10)).captured is True
    assert torch.equal(made.module[0].weight, before)


def test_equal_things_have_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.training.captures.MOST_BASES", 3)
    captures = Captures()
    assert captures.basis(("a", 1)) == captures.basis(("a", 1)) != captures.basis(("a", 2))
    captures.graphs["of a"] = lambda inputs: inputs[0]
    numbers = [captures.basis(("b", number)) for number in range(10)]
    assert len(set(numbers)) == 10
    assert len(captures._bases) <= 3
    assert not captures.graphs, "they went with what they rest on"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU is here")
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3], ids=str)
@pytest.mark.parametrize("precision", [None, "bf16", "fp16"])
def test_cuda_graphs_and_eager_steps_agree(
    job: Any, learner: Any, optimizer: Any, precision: Any
) -> None:
    """Within 1e-5 of each other in float32; within the spacing of half precision else."""

    def plain() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2))

    def trained(capture: bool) -> tuple[list[torch.Tensor], Any]:
        made = learner(plain, device="cuda", static_capture=capture)
        settings = {"optimizer": optimizer, "mixed_precision": precision, "device": "cuda"}
        report = made.fit(
            labeled(), job(max_training_epochs=8, static_capture=capture, **settings)
        )
        return weights(made), report.captured

    (captured, taken), (eager, _) = trained(True), trained(False)
    assert taken is True
    tolerance = 1e-5 if precision is None else 2e-2
    for mine, theirs in zip(captured, eager, strict=True):
        assert torch.allclose(mine, theirs, atol=tolerance, rtol=tolerance)
