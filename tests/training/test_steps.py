from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from querist.config.training import TrainingConfig
from querist.pools import LabeledSet, TensorPool
from querist.training.compiled import compile_in_place
from querist.training.precision import tensor_cores
from tests.shared.memory import Memory

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(96, 2, generator=GENERATOR)
CLASSES = (FEATURES.sum(1) > 0).long()
SGD = {"name": "SGD", "options": {"lr": 0.5}}


def labeled(n: int = 96) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), CLASSES[:n])


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 2))


def fitted(learner: Any, job: Any, **settings: Any) -> tuple[torch.Tensor, Any]:
    made = learner(model, **settings)
    report = made.fit(labeled(), job(**settings))
    return torch.cat([p.detach().float().reshape(-1) for p in made.module.parameters()]), report


@pytest.mark.parametrize("optimizer", [SGD, "Adam"], ids=str)
def test_accumulated_batches_are_one_large_batch(job: Any, learner: Any, optimizer: Any) -> None:
    small, report = fitted(learner, job, optimizer=optimizer, batch_size=8, accumulate_batches=4)
    large, whole = fitted(learner, job, optimizer=optimizer, batch_size=32)
    assert torch.allclose(small, large, atol=1e-6)
    assert report.steps == whole.steps == 9
    assert report.train_loss == pytest.approx(whole.train_loss, rel=1e-5)


def test_what_is_left_of_an_epoch_is_a_step_of_its_own(job: Any, learner: Any) -> None:
    _, report = fitted(learner, job, batch_size=8, accumulate_batches=5)
    assert report.steps == 3 * 3, "12 batches are 5, 5 and 2"


def test_long_gradients_are_shortened(job: Any, learner: Any) -> None:
    def moved(clip: float | None) -> float:
        settings = {"optimizer": SGD, "max_training_epochs": 1, "batch_size": 96}
        first, _ = fitted(learner, job, **settings | {"optimizer": {"name": "SGD",
                          "options": {"lr": 1e-9}}})  # fmt: skip
        after, _ = fitted(learner, job, **settings, clip_grad_norm=clip)
        return float((after - first).norm())

    assert moved(None) > 0.1
    assert moved(0.01) == pytest.approx(0.5 * 0.01, rel=1e-3)
    assert moved(1e6) == pytest.approx(moved(None), rel=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_mixed_precision_learns_the_same_roughly(
    job: Any, learner: Any, precision: str, clip: float | None
) -> None:
    settings = {"optimizer": SGD, "max_training_epochs": 10, "clip_grad_norm": clip}
    mixed, report = fitted(learner, job, **settings, mixed_precision=precision)
    whole, plain = fitted(learner, job, **settings)
    assert not torch.equal(mixed, whole)
    assert torch.allclose(mixed, whole, atol=0.1)
    assert report.train_loss == pytest.approx(plain.train_loss, abs=0.02)


def test_the_loss_scale_is_in_the_partial_state(job: Any, learner: Any) -> None:
    kept = Memory()
    settings = {"optimizer": SGD, "mixed_precision": "fp16", "checkpoint_epochs": 1}

    def train(epochs: int, partial: Any) -> torch.Tensor:
        made = learner(model)
        made.fit(labeled(), job(max_training_epochs=epochs, partial=partial, **settings))
        return torch.cat([p.detach().reshape(-1) for p in made.module.parameters()])

    whole = train(4, None)
    train(3, kept)
    assert kept.epochs[-1] == 2
    assert torch.equal(train(4, kept), whole)


def test_batches_that_do_not_come_out_even(job: Any, learner: Any) -> None:
    def report(last: str) -> Any:
        return learner(model).fit(
            labeled(90), job(batch_size=16, last_batch=last, max_training_epochs=1)
        )

    assert (report("keep").steps, report("keep").samples) == (6, 90)
    assert (report("drop").steps, report("drop").samples) == (5, 80)
    assert (report("fill").steps, report("fill").samples) == (6, 96)


def test_a_compiled_model_learns_the_same(job: Any, learner: Any) -> None:
    settings = {"optimizer": SGD, "max_training_epochs": 2}
    compiled, report = fitted(learner, job, **settings, compile=True)
    plain, _ = fitted(learner, job, **settings)
    assert torch.allclose(compiled, plain, atol=1e-5)
    assert report.captured == "the model is compiled"


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder

    def missing() -> str:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    from querist.errors import LearnerError

    with pytest.raises(LearnerError, match=r"needs a C\+\+ compiler on the CPU.* install g\+\+"):
        compile_in_place(model(), torch.device("cpu"))


@pytest.mark.parametrize("convolutions", [True, False])
@pytest.mark.parametrize("matrices", ["highest", "high"])
def test_tensor_cores_are_as_the_settings_say_inside_only(
    matrices: str, convolutions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def now() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = now()
    torch.set_float32_matmul_precision(matrices)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", convolutions)
    try:
        with tensor_cores(TrainingConfig(tf32=True)):
            assert now() == ("high", True)
        with tensor_cores(TrainingConfig()):
            assert now() == ("highest", False)
        with pytest.raises(KeyError), tensor_cores(TrainingConfig(tf32=True)):
            raise KeyError
        assert now() == (matrices, convolutions)
    finally:
        torch.set_float32_matmul_precision(before[0])
