from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from querist.errors import ConfigurationError, LearnerError
from querist.pools import LabeledSet, TensorPool
from querist.training.job import EpochReport
from querist.training.weights import weights_to_bytes
from tests.shared.memory import Memory

FEATURES = torch.rand(40, 2, generator=torch.Generator().manual_seed(5))
NUMBERS = FEATURES.sum(1)
SGD = {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}


def data(first: int = 0, last: int = 40, targets: torch.Tensor = NUMBERS) -> LabeledSet:
    chosen = torch.arange(first, last)
    return LabeledSet(TensorPool(FEATURES), chosen, targets[chosen])


def module() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1))


def test_the_report_counts(job: Any, learner: Any) -> None:
    seen: list[EpochReport] = []
    report = learner(module, None).fit(data(), job(batch_size=16, on_epoch=seen.append))
    assert (report.epochs, report.steps) == (3, 9)
    assert [r.epoch for r in seen] == [1, 2, 3]
    assert {r.epochs for r in seen} == {3}
    assert report.train_loss == seen[-1].train_loss
    assert report.validation_loss is None
    assert not report.stopped_early
    assert report.optimizer_state is None


@pytest.mark.parametrize(("fine_tuning", "epochs"), [(None, 3), (5, 5), (0, 0)])
def test_epochs_of_later_iterations(job: Any, learner: Any, fine_tuning: Any, epochs: int) -> None:
    made = learner(module, None)
    before = weights_to_bytes(made.module)
    report = made.fit(data(), job(iteration=1, max_fine_tuning_epochs=fine_tuning))
    assert report.epochs == epochs
    assert (weights_to_bytes(made.module) == before) == (epochs == 0)


def test_fine_tuning_has_a_learning_rate_of_its_own(job: Any, learner: Any) -> None:
    def moved(**more: Any) -> float:
        made = learner(lambda: nn.Linear(2, 1), None)
        before = made.module.weight.detach().clone()
        plain = {"name": "SGD", "options": {"lr": 0.1}}
        made.fit(data(), job(optimizer=plain, max_training_epochs=1, batch_size=40, **more))
        return float((made.module.weight.detach() - before).norm())

    whole = moved(fine_tuning_lr=0.05)
    assert moved(iteration=1, fine_tuning_lr=0.05) == pytest.approx(whole / 2, rel=1e-4)
    assert moved(iteration=1) == pytest.approx(whole, rel=1e-4)


def test_a_batch_at_least_as_large_as_the_data(job: Any, learner: Any) -> None:
    assert learner(module, None).fit(data(), job(batch_size=10**6)).steps == 3


@pytest.mark.parametrize("targets", [torch.full((40,), math.nan), torch.full((40,), math.inf)])
def test_a_loss_that_is_not_finite(job: Any, learner: Any, targets: torch.Tensor) -> None:
    with pytest.raises(
        LearnerError, match=r"must be finite, it is (nan|inf) in epoch 1 of iteration 4"
    ):
        learner(module, None).fit(data(targets=targets), job(iteration=4))


def test_a_loss_that_grows_without_end(job: Any, learner: Any) -> None:
    wild = {"name": "SGD", "options": {"lr": 1e6, "momentum": 0.99}}
    with pytest.raises(LearnerError, match="lower the learning rate"):
        learner(module, None).fit(data(), job(optimizer=wild, max_training_epochs=20))


class Scripted(nn.Module):
    """Its weight counts epochs, and its validation losses are written down."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))
        self.losses = losses
        self.at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] @ self.weight

    def training_step(self, batch: Any) -> torch.Tensor:
        return -self.weight.sum()  # SGD with rate 1 adds 1 each epoch

    def validation_step(self, batch: Any) -> float:
        self.at += 1
        return self.losses[self.at - 1]


@pytest.mark.parametrize(
    ("losses", "early", "epochs", "weight", "loss", "stopped"),
    [
        ([5, 4, 3, 4, 4, 4, 4], {"patience": 2}, 5, 3, 3, True),
        ([5, 4, 3, 4, 4, 4, 4], {"patience": 2, "restore_best": False}, 5, 5, 4, True),
        ([5, 4, 3, 2, 1, 0, -1], {"patience": 2}, 7, 7, -1, False),
        ([5, 4.9, 4.8, 4.7, 9, 9, 9], {"patience": 2, "min_delta": 0.5}, 3, 1, 5, True),
        ([5, math.nan, math.nan, 1, 1, 1, 1], {"patience": 2}, 3, 1, 5, True),
        ([5, 6, 4, 5, 3, 4, 2], {"patience": 2}, 7, 7, 2, False),
    ],
)
def test_early_stopping(
    job: Any, learner: Any, losses: list[float], early: Any, epochs: int, weight: int, loss: float,
    stopped: bool,
) -> None:  # fmt: skip
    made = learner(lambda: Scripted(losses), None)
    report = made.fit(
        data(0, 4),
        job(
            validation=data(4, 8),
            optimizer={"name": "SGD", "options": {"lr": 1.0}},
            max_training_epochs=7,
            early_stopping=early,
        ),
    )
    assert (report.epochs, report.stopped_early, report.validation_loss) == (epochs, stopped, loss)
    assert float(made.module.weight.detach()) == weight


def test_validation_is_weighted_by_batch(
    job: Any, learner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("querist.training.batches.EVALUATION_BATCH", 16)
    made = learner(lambda: nn.Linear(2, 1), None)
    report = made.fit(data(), job(validation=data()))
    expected = nn.functional.mse_loss(made.module(FEATURES)[:, 0], NUMBERS)
    assert report.validation_loss == pytest.approx(float(expected), rel=1e-5)


class Named(torch.utils.data.Dataset[Any]):
    """Items that are dictionaries, with the features inside another one."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return {"id": f"item {index}", "x": {"features": FEATURES[index]}, "y": NUMBERS[index]}


def test_validation_batches_of_names_are_weighted_by_their_size(
    job: Any, learner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("querist.training.batches.EVALUATION_BATCH", 3)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.mse_loss(model(batch["x"]["features"])[:, 0], batch["y"])

    made = learner(lambda: nn.Linear(2, 1), None, train_step=step, validate_step=step)
    report = made.fit(Named(), job(validation=Named(), batch_size=2))
    expected = nn.functional.mse_loss(made.module(FEATURES[:5])[:, 0], NUMBERS[:5])
    assert report.validation_loss == pytest.approx(float(expected), rel=1e-5)


SCHEDULED = [
    None,
    {"name": "StepLR", "options": {"step_size": 2}},
    {"name": "OneCycleLR", "options": {"max_lr": 0.1, "total_steps": 8}},
    {"name": "ReduceLROnPlateau", "options": {"patience": 0, "threshold": 0.9}},
    {"name": "CosineAnnealingWarmRestarts", "options": {"T_0": 3}},
    {"name": "CyclicLR", "options": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2}},
    {"name": "LinearLR", "options": {}},
]


@pytest.mark.parametrize("scheduler", SCHEDULED)
@pytest.mark.parametrize("validated", [True, False])
def test_an_interrupted_training_goes_on_bit_by_bit(
    job: Any, learner: Any, scheduler: Any, validated: bool
) -> None:
    settings: dict[str, Any] = {
        "max_training_epochs": 8,
        "checkpoint_epochs": 3,
        "optimizer": SGD,
        "scheduler": scheduler,
        "reset_optimizer": False,
    }
    if validated:
        settings |= {"validation": data(30, 40), "early_stopping": {"patience": 4}}
    whole = learner(module, None)
    whole_report = whole.fit(data(0, 30), job(**settings))

    partial = Memory()

    def stop(report: EpochReport) -> None:
        if report.epoch == 5:
            raise KeyboardInterrupt

    stopped = learner(module, None)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(data(0, 30), job(partial=partial, on_epoch=stop, **settings))
    assert partial.epochs == [3]
    resumed = learner(module, None)
    report = resumed.fit(data(0, 30), job(partial=partial, **settings))
    assert resumed.state_files() == whole.state_files()
    assert (report.epochs, report.steps) == (whole_report.epochs, whole_report.steps)
    assert report.train_loss == whole_report.train_loss
    assert report.validation_loss == whole_report.validation_loss


@pytest.mark.parametrize("name", ["Adam", "LBFGS", "Rprop", "Adagrad", "ASGD", "NAdam", "RMSprop"])
def test_optimizers_go_on_bit_by_bit(job: Any, learner: Any, name: str) -> None:
    settings = {"optimizer": {"name": name, "options": {"lr": 0.01}}, "checkpoint_epochs": 1}
    whole, resumed, partial = learner(module, None), learner(module, None), Memory()
    whole.fit(data(), job(**settings, max_training_epochs=4, reset_optimizer=False))

    def stop(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    settings |= {"partial": partial, "max_training_epochs": 4, "reset_optimizer": False}
    with pytest.raises(KeyboardInterrupt):
        learner(module, None).fit(data(), job(on_epoch=stop, **settings))
    assert partial.kept is not None
    assert partial.kept[0] == 2
    resumed.fit(data(), job(**settings))
    assert resumed.state_files() == whole.state_files()


def test_the_last_epoch_leaves_no_partial_checkpoint(job: Any, learner: Any) -> None:
    partial = Memory()
    learner(module, None).fit(
        data(), job(partial=partial, checkpoint_epochs=2, max_training_epochs=4)
    )
    assert partial.epochs == [2]


@pytest.mark.parametrize(
    "scheduler",
    [{"name": "CosineAnnealingLR", "options": {"T_max": 3}},
     {"name": "LinearLR", "options": {"start_factor": 0.5, "total_iters": 2}},
     {"name": "StepLR", "options": {"step_size": 1, "gamma": 0.5}},
     {"name": "PolynomialLR", "options": {"total_iters": 3}}],
)  # fmt: skip
def test_a_scheduler_starts_each_iteration_from_its_learning_rate(
    job: Any, learner: Any, scheduler: Any
) -> None:
    def rates(reset_optimizer: bool) -> list[float | None]:
        seen: list[float | None] = []
        made = learner(module, None)
        for iteration in (0, 1, 2):
            settings = {"optimizer": SGD, "scheduler": scheduler, "fine_tuning_lr": 0.01}
            made.fit(
                data(),
                job(
                    iteration=iteration,
                    reset_optimizer=reset_optimizer,
                    on_epoch=lambda report: seen.append(report.lr),
                    **settings,
                ),
            )
        return seen

    assert rates(reset_optimizer=False) == rates(reset_optimizer=True)


def test_a_schedule_begins_at_the_rate_of_its_own_iteration(job: Any, learner: Any) -> None:
    restarts = {"name": "CosineAnnealingWarmRestarts", "options": {"T_0": 2}}
    seen: list[float | None] = []
    made = learner(module, None)
    for iteration in (0, 1):
        made.fit(
            data(),
            job(
                iteration=iteration, optimizer=SGD, scheduler=restarts, fine_tuning_lr=0.001,
                reset_optimizer=False, on_epoch=lambda report: seen.append(report.lr),
            ),
        )  # fmt: skip
    assert max(rate for rate in seen[3:] if rate) == pytest.approx(0.001)


def test_the_validation_loss_is_in_the_partial_state(job: Any, learner: Any) -> None:
    early = {"patience": 1, "min_delta": 1e6, "restore_best": False}
    settings = {"optimizer": SGD, "early_stopping": early, "max_training_epochs": 9}

    kept = Memory()
    whole = learner(module, None).fit(
        data(), job(validation=data(), partial=kept, checkpoint_epochs=1, **settings)
    )
    again = learner(module, None).fit(data(), job(validation=data(), partial=kept, **settings))
    assert whole.stopped_early
    assert again.stopped_early
    assert again.validation_loss == whole.validation_loss is not None


def test_one_cycle_ends_with_its_steps(job: Any, learner: Any) -> None:
    cycle = {"name": "OneCycleLR", "options": {"max_lr": 0.1, "total_steps": 2}}
    with pytest.raises(ConfigurationError, match="OneCycleLR refused epoch 3: .*total steps is 2"):
        learner(module, None).fit(data(), job(scheduler=cycle, max_training_epochs=5))


def test_a_model_without_parameters(job: Any, learner: Any) -> None:
    with pytest.raises(ConfigurationError, match="empty parameter list"):
        learner(lambda: nn.Flatten(), None).fit(data(), job())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(job: Any, learner: Any, dtype: torch.dtype) -> None:
    made = learner(module, None, dtype=str(dtype).removeprefix("torch."))
    report = made.fit(data(), job())
    assert math.isfinite(report.train_loss)
    assert {p.dtype for p in made.module.parameters()} == {dtype}
    other = learner(module, None, dtype=str(dtype).removeprefix("torch."))
    other.load_state_files(made.state_files())
    assert other.state_files() == made.state_files()
