from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from querist.errors import LearnerError
from querist.learners.torch_learner import choose_device
from querist.pools import DatasetPool, LabeledSet, TensorPool
from querist.values import Task

FEATURES = torch.rand(40, 2, generator=torch.Generator().manual_seed(5))
CLASSES = (FEATURES[:, 0] > FEATURES[:, 1]).long()


def labeled(targets: torch.Tensor = CLASSES) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(40), targets)


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, width))


def weights(made: Any) -> bytes:
    return bytes(made.state_files()["weights.safetensors"])


@pytest.mark.parametrize(
    ("width", "classes", "setting", "loss"),
    [
        (1, 2, "auto", "bce_with_logits"),
        (2, 2, "auto", "cross_entropy"),
        (3, 3, "auto", "cross_entropy"),
        (1, 2, "bce_with_logits", "bce_with_logits"),
        (1, None, "auto", "mse"),
        (1, None, "huber", "huber"),
        (3, None, "l1", "l1"),
    ],
)
def test_losses_that_fit_learn(
    job: Any, learner: Any, width: int, classes: int | None, setting: str, loss: str
) -> None:
    targets = CLASSES if classes else (FEATURES.sum(1) if width == 1 else torch.rand(40, 3))
    made = learner(lambda: mlp(width), classes, loss=setting)
    assert made.loss == loss
    assert made.task is (Task.CLASSIFICATION if classes else Task.REGRESSION)
    lr = {"name": "Adam", "options": {"lr": 0.02}}
    first = made.fit(labeled(targets), job(optimizer=lr, max_training_epochs=1)).train_loss
    last = made.fit(labeled(targets), job(optimizer=lr, max_training_epochs=30)).train_loss
    assert last < first


@pytest.mark.parametrize(
    ("width", "classes", "setting", "words"),
    [
        (3, 2, "auto", r"gives 3 numbers per sample but the pool has 2 classes.*\(or 1 with"),
        (2, 5, "auto", "last layer needs 5 outputs"),
        (1, 5, "auto", "gives 1 number per sample but the pool has 5 classes"),
        (2, 2, "bce_with_logits", "gives 2 numbers"),
        (1, 2, "cross_entropy", "gives 1 number per"),
        (2, 2, "mse", "is for numbers, but the pool has 2 classes"),
        (1, None, "cross_entropy", "is for classes, but the pool's targets are numbers"),
    ],
)
def test_outputs_that_do_not_fit(
    learner: Any, width: int, classes: int | None, setting: str, words: str
) -> None:
    with pytest.raises(LearnerError, match=words):
        learner(lambda: mlp(width), classes, loss=setting)


def test_numbers_that_do_not_fit_the_targets(job: Any, learner: Any) -> None:
    made = learner(lambda: mlp(3), None)
    with pytest.raises(LearnerError, match=r"gives \(16, 3\) for targets \(16,\)"):
        made.fit(labeled(FEATURES.sum(1)), job())


class Oddly(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.sum() * self.weight).expand(self.shape)


def test_a_model_that_cannot_take_the_sample(learner: Any) -> None:
    with pytest.raises(LearnerError, match=r"cannot take a sample of shape \(3,\)"):
        learner(lambda: mlp(2), sample=torch.zeros(1, 3))
    with pytest.raises(LearnerError, match=r"one row per sample, not \(7, 2\) for 1 sample"):
        learner(lambda: Oddly((7, 2)))
    with pytest.raises(LearnerError, match=r"\(1, 2, 1\)"):
        learner(lambda: Oddly((1, 2, 1)))


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.steps = self.validated = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def training_step(self, batch: Any) -> torch.Tensor:
        self.steps += 1
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any) -> float:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.validated += 1
        return 0.25


def test_the_models_own_steps(job: Any, learner: Any) -> None:
    made = learner(Own)
    report = made.fit(labeled(), job(validation=labeled(), batch_size=16))
    assert report.steps == made.module.steps == 3 * 3
    assert made.module.validated == 3
    assert report.validation_loss == 0.25


def test_bare_step_functions_come_before_the_models_own(job: Any, learner: Any) -> None:
    seen = []

    def train_step(model: nn.Module, batch: Any) -> torch.Tensor:
        features, targets = batch
        return nn.functional.cross_entropy(model(features), targets)

    def validate_step(model: nn.Module, batch: Any) -> None:
        seen.append(len(batch[0]))

    made = learner(Own, train_step=train_step, validate_step=validate_step)
    report = made.fit(labeled(), job(validation=labeled()))
    assert made.module.steps == made.module.validated == 0
    assert seen == [40, 40, 40]
    assert report.validation_loss is None


class WithProba(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def predict_proba(self, x: torch.Tensor) -> torch.Tensor:
        p = self(x)[:, 0].sigmoid()
        return torch.stack([1 - p, p], 1)


def test_a_models_own_probabilities(job: Any, learner: Any) -> None:
    made = learner(WithProba)
    assert made.predict_proba(FEATURES).shape == (40, 2)
    with pytest.raises(LearnerError, match="needs its own training_step"):
        made.fit(labeled(), job())


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_predictions(job: Any, learner: Any, width: int, dtype: str) -> None:
    made = learner(lambda: mlp(width), dtype=dtype)
    made.fit(labeled(), job(dtype=getattr(torch, dtype)))
    assert next(made.module.parameters()).dtype == getattr(torch, dtype)
    proba = made.predict_proba(FEATURES.double())
    assert proba.dtype == torch.float32
    assert proba.shape == (40, 2)
    assert torch.allclose(proba.sum(1), torch.ones(40), atol=1e-6)
    assert torch.equal(made.predict(FEATURES), proba.argmax(1))
    assert not made.module.training


def test_predicting_changes_nothing(learner: Any) -> None:
    made = learner(lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 2)))
    before, state = made.state_files(), torch.get_rng_state()
    first = made.predict_proba(FEATURES)
    assert torch.equal(made.predict_proba(FEATURES), first)
    assert made.state_files() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_regression_has_no_probabilities(learner: Any) -> None:
    made = learner(lambda: mlp(1), None)
    assert made.predict(FEATURES).shape == (40,)
    assert learner(lambda: mlp(3), None).predict(FEATURES).shape == (40, 3)
    with pytest.raises(LearnerError, match="no class probabilities"):
        made.predict_proba(FEATURES)


def test_chunks_give_what_the_whole_gives(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from querist.learners import scoring

    made = learner(lambda: mlp(2))
    whole = made.predict_proba(FEATURES)
    monkeypatch.setattr(scoring, "CHUNK", 7)
    assert torch.allclose(made.predict_proba(FEATURES), whole)


@pytest.mark.parametrize("reset_optimizer", [True, False])
def test_the_state_comes_back_bit_by_bit(job: Any, learner: Any, reset_optimizer: bool) -> None:
    settings = {"optimizer": "Adam", "reset_optimizer": reset_optimizer}

    def module() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2))

    made = learner(module)
    made.fit(labeled(), job(**settings))
    files = made.state_files()
    other = learner(module)
    other.load_state_files(files)
    assert other.state_files() == files
    assert torch.equal(other.predict_proba(FEATURES), made.predict_proba(FEATURES))
    for each in (made, other):
        each.fit(labeled(), job(iteration=1, **settings))
    assert other.state_files() == made.state_files()


def test_the_training_state_holds_no_code(job: Any, learner: Any) -> None:
    made = learner(lambda: mlp(2))
    made.fit(labeled(), job(reset_optimizer=False))
    torch.load(io.BytesIO(made.state_files()["training_state.pt"]), weights_only=True)


def test_tied_weights_come_back(job: Any, learner: Any) -> None:
    def tied() -> nn.Module:
        module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        module[1].weight = module[0].weight
        return module

    made = learner(tied)
    made.fit(labeled(), job())
    other = learner(tied)
    other.load_state_files(made.state_files())
    assert other.state_files() == made.state_files()
    assert other.module[1].weight is other.module[0].weight


def test_the_same_seed_gives_the_same_bytes_wherever_the_global_generator_is(
    job: Any, learner: Any
) -> None:
    def trained(seed: int, disturb: int) -> bytes:
        made = learner(lambda: nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2)))
        torch.manual_seed(disturb)
        before = torch.get_rng_state()
        made.fit(labeled(), job(seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        return weights(made)

    assert trained(1, 0) == trained(1, 99)
    assert trained(1, 0) != trained(2, 0)


def test_reset_goes_back_to_the_first_weights(job: Any, learner: Any) -> None:
    made = learner(lambda: mlp(2))
    first = made.state_files()
    made.fit(labeled(), job(reset_optimizer=False))
    assert made.state_files() != first
    made.reset()
    assert made.state_files() == first


def test_without_warm_start_each_iteration_begins_anew(job: Any, learner: Any) -> None:
    made, fresh = learner(lambda: mlp(2)), learner(lambda: mlp(2))
    made.fit(labeled(), job(warm_start=False))
    made.fit(labeled(), job(iteration=1, warm_start=False))
    fresh.fit(labeled(), job(iteration=1))
    assert weights(made) == weights(fresh)


def test_a_kept_optimizer_goes_on_with_its_momentum(job: Any, learner: Any) -> None:
    sgd = {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}
    found = []
    for reset in (True, False):
        made = learner(lambda: mlp(2))
        for iteration in (0, 1):
            made.fit(labeled(), job(iteration=iteration, optimizer=sgd, reset_optimizer=reset))
        found.append(weights(made))
    assert found[0] != found[1]


def test_a_pool_that_is_read_one_by_one_learns_deterministically(job: Any, learner: Any) -> None:
    pool = DatasetPool([(FEATURES[i], CLASSES[i]) for i in range(40)], classes=2)
    one_by_one = LabeledSet(pool, torch.arange(40), CLASSES)

    def trained(data: LabeledSet) -> bytes:
        made = learner(lambda: mlp(2))
        report = made.fit(data, job())
        assert report.steps == 9
        return weights(made)

    assert trained(one_by_one) == trained(one_by_one)


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(LearnerError, match="training.device mps is not there: use auto or cpu"):
            choose_device("mps")
    with pytest.raises(LearnerError, match="cuda:99 is not there"):
        choose_device("cuda:99")


def test_threads_are_put_back(job: Any, learner: Any) -> None:
    before = torch.get_num_threads()
    seen = []

    class Watching(Own):
        def training_step(self, batch: Any) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return super().training_step(batch)

    learner(Watching, threads=1).fit(labeled(), job())
    assert set(seen) == {1}
    assert torch.get_num_threads() == before
