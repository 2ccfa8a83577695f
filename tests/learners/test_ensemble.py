"""What only ensembles promise; the rest is in their contract."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from querist import registry
from querist.config.learner import LearnerSettings
from querist.errors import ConfigurationError, LearnerError, UnknownNameError
from querist.learners import Ensemble, OneByOne, StackedEnsemble, build_learner
from querist.learners.build import LearnerContext
from querist.pools import LabeledSet, TensorPool
from querist.protocols import SamplingPredictor
from querist.randomness import SETUP, derive_seed
from querist.registry import Registered

FEATURES = torch.rand(40, 4, generator=torch.Generator().manual_seed(5))
CLASSES = (FEATURES[:, :3]).argmax(1)
MLP = {
    "name": "examples.digits.model:DigitClassifier",
    "options": {"features": 4, "hidden": 8, "classes": 3, "dropout": 0.0},
}
TREE = {"name": "sklearn", "options": {"estimator": "DecisionTreeClassifier"}}


def labeled(n: int = 40) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), CLASSES[:n])


def settings(member: Any = MLP, training: Any = None, **options: Any) -> LearnerSettings:
    return LearnerSettings(
        seed=3,
        learner={"name": "ensemble", "options": {"member": member, "n": 3, **options}},
        training={"threads": 1, "device": "cpu", **(training or {})},
    )


def made(member: Any = MLP, training: Any = None, **options: Any) -> Any:
    return build_learner(settings(member, training, **options), classes=3, sample=FEATURES[:1])


def test_members_in_one_pass_are_what_each_is_alone(job: Any) -> None:
    training = {"optimizer": {"name": "Adam", "options": {"lr": 0.05}}, "max_training_epochs": 4}
    whole = made(training=training)
    assert isinstance(whole, StackedEnsemble)
    alone = []
    first = derive_seed(3, SETUP, "setup", "first weights")
    for k in range(3):
        context = LearnerContext(settings(training=training), 3, FEATURES[:1], first)
        member = settings().learner.model_validate(MLP)
        learner = context.learner(
            context.model(member, derive_seed(first, SETUP, "setup", f"member {k}")), seed=0
        )
        learner.fit(labeled(), job(**training))
        alone.append(learner.predict_proba(FEATURES))
    report = whole.fit(labeled(), job(**training))
    assert report.steps == 4 * 3
    torch.testing.assert_close(whole.predict_proba_samples(FEATURES), torch.stack(alone))
    torch.testing.assert_close(whole.predict_proba(FEATURES), torch.stack(alone).mean(0))


@pytest.mark.parametrize("bootstrap", [False, True])
def test_steps_are_captured_and_bit_for_bit_the_same(job: Any, bootstrap: bool) -> None:
    member = {"name": MLP["name"], "options": {**MLP["options"], "dropout": 0.3}}
    found = []
    for capture in ("auto", False):
        training = {"static_capture": capture, "max_training_epochs": 30}
        learner = made(member, training, bootstrap=bootstrap)
        report = learner.fit(labeled(), job(**training))
        found.append((report.captured is True, learner.predict_proba(FEATURES)))
    (captured, first), (eager, second) = found
    assert captured
    assert not eager
    assert torch.equal(first, second)


def test_members_differ() -> None:
    for learner in (made(), made(training={"clip_grad_norm": 1.0})):
        assert isinstance(learner, SamplingPredictor)
        first, second, third = learner.predict_proba_samples(FEATURES)
        assert not torch.allclose(first, second)
        assert not torch.allclose(second, third)


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"clip_grad_norm": 1.0}, "training.clip_grad_norm would be of the gradients of all"),
        ({"optimizer": "LBFGS"}, "the optimizer LBFGS would mix the weights"),
        (
            {"train_step_fn": "examples.queue_style.moons:training_step"},
            "training.train_step_fn takes one model",
        ),
    ],
)
def test_settings_for_one_model_train_members_alone(training: Any, reason: str) -> None:
    learner = made(training=training)
    assert isinstance(learner, OneByOne)
    assert reason in learner.reason


def test_the_reason_is_logged_once(job: Any, caplog: pytest.LogCaptureFixture) -> None:
    learner = made(TREE)
    with caplog.at_level(logging.INFO, "querist"):
        learner.fit(labeled(), job())
        learner.fit(labeled(), job(iteration=1))
    said = [r.getMessage() for r in caplog.records if "one after the other" in r.getMessage()]
    assert said == [
        "the ensemble's 3 members are trained one after the other: they are no torch modules"
    ]


class WithStatistics(nn.Module):
    """Keeps statistics of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_a_module_with_batch_normalization_is_trained_alone(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        registry._components["learner"], "stats", Registered("learner", "stats", WithStatistics)
    )
    learner = made("stats")
    assert isinstance(learner, OneByOne)
    assert learner.reason == (
        "WithStatistics keeps statistics in layers.1.running_mean while it learns"
    )
    adam = {"name": "Adam", "options": {"lr": 0.05}}
    report = learner.fit(labeled(), job(max_training_epochs=20, optimizer=adam))
    assert report.epochs == 20
    assert report.steps == 3 * 20 * 3
    assert report.train_loss < 0.6


def test_early_stopping_looks_at_the_mean_and_brings_the_best_back(job: Any) -> None:
    training = {
        "early_stopping": {"patience": 2},
        "optimizer": {"name": "SGD", "options": {"lr": 30.0}},
        "max_training_epochs": 30,
    }
    learner = made(training=training)
    report = learner.fit(labeled(20), job(validation=labeled(), **training))
    assert report.stopped_early
    assert report.epochs < 30
    with torch.no_grad():
        loss = learner.module.eval().validation_step((FEATURES, CLASSES))
    assert float(loss) == pytest.approx(report.validation_loss, rel=1e-5)


def test_schedulers_rates_and_kept_optimizers_hold_for_all_members(job: Any) -> None:
    training = {
        "optimizer": {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}},
        "scheduler": {"name": "StepLR", "options": {"step_size": 1}},
        "fine_tuning_lr": 0.01,
        "reset_optimizer": False,
    }
    learner = made(training=training)
    learner.fit(labeled(), job(**training))
    state = torch.load(io.BytesIO(learner.state_files()["training_state.pt"]), weights_only=True)
    assert state["optimizer"]["state"][0]["momentum_buffer"].shape == (3, 8, 4)
    before = learner.predict_proba(FEATURES)
    learner.fit(labeled(), job(iteration=1, **training))
    assert not torch.equal(before, learner.predict_proba(FEATURES))


def test_shrink_and_perturb_mixes_each_member_with_fresh_weights(job: Any) -> None:
    training = {
        "warm_start": {"mode": "shrink_and_perturb", "shrink": 0.0, "perturb": 1.0},
        "max_fine_tuning_epochs": 0,
    }
    learner = made(training=training)
    learner.fit(labeled(), job(**training))
    learner.fit(labeled(), job(iteration=1, **training))
    first, second, _ = learner.predict_proba_samples(FEATURES)
    assert not torch.allclose(first, second)


def test_a_schedule_cannot_mix_members(job: Any) -> None:
    learner = made()
    learner.fit(labeled(), job())
    with pytest.raises(LearnerError, match="in iteration 1 training.clip_grad_norm would be"):
        learner.fit(labeled(), job(iteration=1, clip_grad_norm=1.0))


def test_a_checkpoint_of_the_other_kind_is_refused(job: Any) -> None:
    together, alone = made(), made(training={"clip_grad_norm": 1.0})
    with pytest.raises(LearnerError, match="trained one after the other, which here are trained"):
        together.load_state_files(alone.state_files())
    with pytest.raises(LearnerError, match="in one pass, whose members are trained one after the"):
        alone.load_state_files(together.state_files())


def test_bootstrap_samples_are_each_members_own(job: Any) -> None:
    learner = made({"name": "sklearn", "options": {"estimator": "GaussianNB"}}, bootstrap=True)
    learner.fit(labeled(), job())
    first, second, third = learner.predict_proba_samples(FEATURES)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    same = made({"name": "sklearn", "options": {"estimator": "GaussianNB"}})
    same.fit(labeled(), job())
    first, second, third = same.predict_proba_samples(FEATURES)
    assert torch.equal(first, second)
    assert torch.equal(second, third)


def test_options_that_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 to 1000 members, not 1: change n"):
        made(n=1)
    with pytest.raises(ConfigurationError, match="bootstrap is true or false, not 'x'"):
        made(bootstrap="x")
    with pytest.raises(UnknownNameError, match="option of learner .*'hiden'.*'hidden'"):
        made({"name": MLP["name"], "options": {"hiden": 1}})
    with pytest.raises(ConfigurationError, match="importing from 'os' is not allowed"):
        Ensemble("os:system")
    with pytest.raises(ConfigurationError, match="member of ensemble: there is no key named 'nam'"):
        Ensemble({"nam": "sklearn"})


def test_a_member_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    command = {"name": "command", "options": {"train": {"argv": ["true"]}}}
    with pytest.raises(LearnerError, match="'command' is made of programs"):
        made(command)


def test_a_member_may_not_run_what_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUERIST_ALLOWED_COMMANDS", raising=False)
    command = {"name": "command", "options": {"train": {"argv": ["true"]}}}
    with pytest.raises(ValidationError, match="running 'true' is not allowed"):
        settings(command)


def test_members_whose_outputs_do_not_fit() -> None:
    wrong = {"name": MLP["name"], "options": {"features": 4, "classes": 2}}
    with pytest.raises(LearnerError, match="gives 2 numbers per sample but the pool has 3 classes"):
        made(wrong)


@pytest.mark.parametrize("more", [{"mixed_precision": "bf16"}, {"dtype": "float64"}])
def test_other_precisions(job: Any, more: Any) -> None:
    training = {**more, "optimizer": {"name": "Adam", "options": {"lr": 0.05}}}
    learner = made(training=training)
    assert isinstance(learner, StackedEnsemble)
    report = learner.fit(labeled(), job(max_training_epochs=20, **training))
    assert report.train_loss < 0.4
    assert (learner.predict(FEATURES) == CLASSES).double().mean() > 0.9
