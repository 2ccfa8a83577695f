from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.alternating.loop import Alternating
from examples.alternating.model import TwoParts
from querist.config.load import load_experiment
from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, LearnerError
from querist.learners import TorchLearner
from querist.pools import LabeledSet, digits
from querist.registry import build
from querist.training.job import EpochReport, TrainingJob
from querist.training.weights import state_from_bytes, weights_to_bytes
from tests.shared.memory import Memory
from tests.shared.runs import component, drive, experiment, new_run  # noqa: F401

SGD = {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}
POOL = digits()


def data(first: int = 0, last: int = 100) -> LabeledSet:
    rows = torch.arange(first, last)
    return LabeledSet(POOL, rows, POOL.targets(rows))


def learner(seed: int = 0, **options: Any) -> TorchLearner:
    torch.manual_seed(seed)
    return TorchLearner(
        TwoParts(),
        classes=10,
        sample=torch.zeros(1, 64),
        settings=TrainingConfig(threads=1, device="cpu"),
        loop=Alternating(**options),
    )


def job(iteration: int = 0, partial: Any = None, on_epoch: Any = None, **settings: Any) -> Any:
    made = TrainingJob(
        iteration=iteration,
        settings=TrainingConfig.model_validate(
            {"optimizer": SGD, "max_training_epochs": 6, **settings}
        ),
        seed=1,
        device=torch.device("cpu"),
        dtype=torch.float32,
        partial=partial,
    )
    return made if on_epoch is None else replace(made, on_epoch=on_epoch)


def test_it_learns() -> None:
    made, reports = learner(), []
    report = made.fit(data(0, 300), job(on_epoch=reports.append, max_training_epochs=20))
    assert [r.epoch for r in reports] == list(range(1, 21))
    assert (report.epochs, report.steps, report.samples) == (20, 20 * 19, 20 * 300)
    assert report.train_loss == reports[-1].train_loss < reports[0].train_loss
    found = made.predict(POOL.features(torch.arange(300, 600)))
    assert float((found == POOL.targets(torch.arange(300, 600))).float().mean()) > 0.8


@pytest.mark.parametrize(("head_steps", "feature_steps"), [(1, 1), (3, 2), (2, 5)])
def test_the_parts_take_turns(
    head_steps: int, feature_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: turns.append("head"))
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: turns.append("features"))
    learner(head_steps=head_steps, feature_steps=feature_steps).fit(data(), job())
    round_ = ["head"] * head_steps + ["features"] * feature_steps
    assert turns == (round_ * 42)[:42]


def test_a_part_whose_turn_it_is_not_stays_as_it_is() -> None:
    made = learner(head_steps=100)
    before = {name: weight.clone() for name, weight in made.module.state_dict().items()}
    made.fit(data(), job())
    after = made.module.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("features"))
    assert not any(torch.equal(before[n], after[n]) for n in before if n.startswith("head"))
    assert all(weight.requires_grad for weight in made.module.parameters())


def test_what_the_model_has_frozen_stays_frozen() -> None:
    made = learner(head_steps=1, feature_steps=1)
    first = made.module.features[0].weight.requires_grad_(False).clone()
    made.fit(data(), job())
    assert torch.equal(made.module.features[0].weight, first)
    assert not made.module.features[0].weight.requires_grad


@pytest.mark.parametrize("last", [1, 2, 4])
@pytest.mark.parametrize("iteration", [0, 1])
def test_a_training_that_was_cut_off_goes_on_bit_by_bit(iteration: int, last: int) -> None:
    settings = {"checkpoint_epochs": 2, "reset_optimizer": False, "fine_tuning_lr": 0.05}

    def begun() -> TorchLearner:
        made = learner()
        if iteration:
            made.fit(data(0, 50), job(**settings))
        return made

    validation = data(100, 150)
    whole = begun()
    report = whole.fit(data(), replace(job(iteration, **settings), validation=validation))

    def stop(report: EpochReport) -> None:
        if report.epoch > last:
            raise KeyboardInterrupt

    partial = Memory()
    with pytest.raises(KeyboardInterrupt):
        begun().fit(data(), job(iteration, partial, stop, **settings))
    resumed = begun()
    again = replace(job(iteration, partial, **settings), validation=validation)
    assert (None if partial.kept is None else partial.kept[0]) == {1: None, 2: 2, 4: 4}[last]
    second = resumed.fit(data(), again)
    assert resumed.state_files() == whole.state_files()
    assert (second.epochs, second.steps) == (report.epochs, report.steps)
    assert (second.train_loss, second.validation_loss) == (
        report.train_loss,
        report.validation_loss,
    )


def test_optimizers_go_on_where_they_were() -> None:
    made = learner()
    report = made.fit(data(), job(reset_optimizer=False, fine_tuning_lr=0.02))
    assert report.optimizer_state is not None
    assert report.optimizer_state["features"]["param_groups"][0]["lr"] == 0.1
    assert int(report.optimizer_state["head"]["state"][0]["step"]) == 22
    later = made.fit(data(), job(1, reset_optimizer=False, fine_tuning_lr=0.02))
    assert later.optimizer_state is not None
    assert later.optimizer_state["features"]["param_groups"][0]["lr"] == 0.02
    assert later.optimizer_state["head"]["param_groups"][0]["lr"] == 0.01
    assert int(later.optimizer_state["head"]["state"][0]["step"]) == 44
    fresh = made.fit(data(), job(2, fine_tuning_lr=0.02))
    assert fresh.optimizer_state is None


def test_the_state_is_a_checkpoints() -> None:
    made = learner()
    made.fit(data(), job(reset_optimizer=False))
    files = made.state_files()
    other = learner(seed=1)
    other.load_state_files(files)
    assert weights_to_bytes(other.module) == files["weights.safetensors"]
    assert set(state_from_bytes(files["training_state.pt"])["optimizer"]) == {"head", "features"}
    for one in (made, other):
        one.fit(data(), job(1, reset_optimizer=False))
    assert other.state_files() == made.state_files()


def test_no_epochs() -> None:
    made = learner()
    before = made.state_files()
    report = made.fit(data(), job(1, max_fine_tuning_epochs=0))
    assert (report.epochs, report.steps, report.train_loss) == (0, 0, None)
    assert made.state_files() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "Adum"}, "no optimizer named 'Adum': did you mean 'Adam'"),
        ({"lr": 0}, "lr must be a number above 0"),
        ({"head_steps": 0}, "both parts take 1 step or more, not 0 and 4"),
        ({"optimizer": "lbfgs"}, "LBFGS evaluates a batch several times"),
        ({"heads": "x"}, "no option of loop .* 'heads': did you mean 'head'"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build("loop", "examples.alternating.loop:Alternating", options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scheduler": {"name": "StepLR", "options": {"step_size": 2}}}, "training.scheduler has"),
        ({"early_stopping": {}}, "training.early_stopping has no effect in the alternating loop"),
        ({"clip_grad_norm": 1.0}, "training.clip_grad_norm has no effect"),
        ({"mixed_precision": "bf16"}, "training.mixed_precision has no effect"),
        ({"processes": 2}, "training.processes has no effect"),
        ({"optimizer": {"name": "LBFGS"}}, "LBFGS evaluates a batch several times"),
    ],
)
def test_settings_that_it_does_not_follow(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Alternating()(TwoParts(), data(), job(**settings))


@pytest.mark.parametrize("head", ["hed", "", "features.1"])
def test_a_model_without_such_a_head(head: str) -> None:
    with pytest.raises(ConfigurationError, match="a part of the model with weights.*name one of"):
        learner(head=head).fit(data(), job())


def test_a_loss_that_is_not_finite() -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        return model(batch[0]).sum() * float("nan")

    with pytest.raises(LearnerError, match="finite, it is nan in epoch 1: lower the learning rate"):
        Alternating()(TwoParts(), data(), replace(job(), train_step=step))


def test_a_run_of_it_is_resumed(new_run: Any, drive: Any) -> None:  # noqa: F811
    file = Path(__file__).parents[2] / "examples" / "alternating" / "experiment.yaml"
    whole = load_experiment(file)
    changes = {
        "data": {**whole.data.model_dump(exclude_unset=True), "initial": {"count": 50}},
        "learner": whole.learner.model_dump(exclude_unset=True),
        "training": {
            **whole.training.model_dump(exclude_unset=True),
            "max_training_epochs": 3,
            "max_fine_tuning_epochs": 2,
            "checkpoint_epochs": 1,
        },
    }
    straight, stopped = new_run("straight", **changes), new_run("stopped", **changes)
    drive.finish(straight)
    drive.iterate(stopped, 0)
    stopped = drive.reopened(stopped)
    drive.finish(stopped)
    assert drive.content(stopped) == drive.content(straight)
