from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from querist import registry
from querist.config.component import Component
from querist.config.learner import LearnerSettings
from querist.config.load import build_experiment
from querist.errors import ConfigurationError, LearnerError
from querist.learners import SklearnLearner, TorchLearner, build_learner
from querist.learners.build import LearnerContext, as_learner
from querist.protocols import Learner
from querist.values import Task


def experiment(**more: Any) -> Any:
    return build_experiment(
        {
            "name": "x",
            "data": {"pool": "digits"},
            "learner": {
                "name": "examples.two_moons.model:MoonClassifier",
                "options": {"hidden": 3},
            },
            "strategies": {"query": "margin", "label": "oracle", "metrology": "f1"},
            **more,
        }
    )


def test_first_weights_depend_on_the_seed_alone() -> None:
    def files(**more: Any) -> Any:
        return build_learner(experiment(**more), classes=2, sample=torch.zeros(1, 2)).state_files()

    first = files()
    torch.rand(3)
    assert files() == first
    assert files(seed=1) != first


def test_settings_of_a_learner_are_enough() -> None:
    whole = experiment(seed=3, training={"batch_size": 7})
    alone = LearnerSettings(seed=3, learner=whole.learner, training=whole.training)
    made = [build_learner(s, classes=2, sample=torch.zeros(1, 2)) for s in (whole, alone)]
    assert made[0].state_files() == made[1].state_files()


def test_kinds_of_learners() -> None:
    sk = {"name": "sklearn", "options": {"estimator": "Ridge"}}
    made = build_learner(experiment(learner=sk), classes=None, sample=torch.zeros(1, 2))
    assert isinstance(made, SklearnLearner)
    assert isinstance(
        as_learner(nn.Linear(2, 2), experiment(), classes=2, sample=torch.zeros(1, 2)), TorchLearner
    )

    class Mine:
        def fit(self, labeled: Any, job: Any) -> Any: ...
        def state_files(self) -> Any: ...
        def load_state_files(self, files: Any) -> Any: ...

    mine = Mine()
    assert as_learner(mine, experiment(), classes=2, sample=None) is mine


@pytest.mark.parametrize(
    "more", [{"processes": 2}, {"distributed": {"nodes": 3, "rendezvous": "a:1"}}]
)
def test_several_processes_train_torch_modules_only(more: Any) -> None:
    several = experiment(
        learner={"name": "sklearn", "options": {"estimator": "Ridge"}}, training=more
    )
    with pytest.raises(
        LearnerError,
        match="training.processes belongs to torch modules, and 'sklearn' gives a Ridge, which",
    ):
        build_learner(several, classes=None, sample=torch.zeros(1, 2))


FOR_MODULES: dict[str, Any] = {
    "static_capture": True,
    "compile": True,
    "mixed_precision": "bf16",
    "tf32": True,
    "accumulate_batches": 2,
    "clip_grad_norm": 1.0,
    "last_batch": "drop",
    "loader": {"workers": 1},
    "warm_start": "shrink_and_perturb",
}
RIDGE = {"name": "sklearn", "options": {"estimator": "Ridge"}}
SGD = {"name": "partial_fit", "options": {"estimator": "SGDRegressor"}}
WITHOUT_MODULES: list[dict[str, Any]] = [
    RIDGE,
    SGD,
    {"name": "command", "options": {"train": {"argv": ["true"]}, "keep": ["m"]}},
    {"name": "ensemble", "options": {"member": RIDGE, "n": 2}},
]


@pytest.mark.parametrize("learner", WITHOUT_MODULES, ids=lambda learner: learner["name"])
@pytest.mark.parametrize("key", FOR_MODULES)
def test_settings_that_only_torch_modules_follow(
    key: str, learner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "true")
    here = experiment(learner=learner, training={key: FOR_MODULES[key]})
    if (key, learner) == ("last_batch", SGD):
        build_learner(here, classes=None, sample=torch.zeros(1, 2))
        return
    with pytest.raises(
        LearnerError,
        match=rf"training.{key}.* belongs to torch modules, and the learner '{learner['name']}' \(",
    ):
        build_learner(here, classes=None, sample=torch.zeros(1, 2))


def test_a_learner_of_ones_own_is_trusted_with_settings_unless_it_says_what_it_follows() -> None:
    class Mine:
        def fit(self, labeled: Any, job: Any) -> Any: ...
        def state_files(self) -> Any: ...
        def load_state_files(self, files: Any) -> Any: ...

    class Telling(Mine):
        follows = ("tf32",)

    for training in ({"tf32": True, "compile": True}, {"tf32": True}):
        as_learner(Mine(), experiment(training=training), classes=2, sample=None)
    as_learner(Telling(), experiment(training={"tf32": True}), classes=2, sample=None)
    with pytest.raises(LearnerError, match=r"training.compile belongs .*\(Telling\) does not"):
        as_learner(Telling(), experiment(training={"compile": True}), classes=2, sample=None)


def test_what_another_process_could_build_again() -> None:
    whole = experiment()
    built = build_learner(whole, classes=2, sample=torch.zeros(1, 2))
    assert isinstance(built, TorchLearner)
    assert built.recipe is whole
    given = as_learner(nn.Linear(2, 2), whole, classes=2, sample=torch.zeros(1, 2))
    assert isinstance(given, TorchLearner)
    assert given.recipe is None


def test_what_is_no_learner() -> None:
    with pytest.raises(LearnerError, match="gives a str: a learner is a"):
        as_learner("x", experiment(), classes=2, sample=None)


def test_options_that_the_model_does_not_take() -> None:
    wrong = {"name": "examples.two_moons.model:MoonClassifier", "options": {"hiden": 3}}
    with pytest.raises(ConfigurationError, match="'hidden'"):
        build_learner(experiment(learner=wrong), classes=2, sample=torch.zeros(1, 2))


def test_steps_by_name() -> None:
    step = "examples.queue_style.moons:training_step"
    made = build_learner(
        experiment(training={"train_step_fn": step}), classes=2, sample=torch.zeros(1, 2)
    )
    assert isinstance(made, TorchLearner)
    assert made.train_step.__name__ == "training_step"  # type: ignore[attr-defined]


def test_what_makes_a_learner_is_told_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Twice:
        """Makes a learner of a member."""

        def __init__(self, member: str) -> None:
            self.member = Component(name=member, options={"hidden": 3})

        def make_learner(self, context: LearnerContext) -> Learner:
            seen.append(context)
            model = context.model(self.member, seed=5)
            return context.learner(
                model, seed=5, remake=lambda seed: context.model(self.member, seed)
            )

    registry.components()
    entry = registry.Registered("learner", "twice", Twice)
    monkeypatch.setitem(registry._components["learner"], "twice", entry)
    settings = experiment(
        learner={"name": "twice", "options": {"member": "examples.two_moons.model:MoonClassifier"}}
    )
    torch.rand(3)
    made = [build_learner(settings, classes=2, sample=torch.zeros(1, 2)) for _ in range(2)]
    assert isinstance(made[0], TorchLearner)
    assert made[0].state_files() == made[1].state_files()
    assert (seen[0].classes, seen[0].settings, seen[0].seed) == (2, settings, seen[1].seed)
    other = experiment(learner=settings.learner, seed=9)
    build_learner(other, classes=2, sample=torch.zeros(1, 2))
    assert seen[2].seed != seen[0].seed


@pytest.mark.parametrize(
    "learner",
    [
        {"name": "sklearn", "options": {"estimator": "Ridge"}},
        {"name": "partial_fit", "options": {"estimator": "SGDRegressor"}},
        {"name": "ensemble", "options": {"n": 2, "member": {
            "name": "sklearn", "options": {"estimator": "Ridge"}}}},
    ],
)  # fmt: skip
def test_who_knows_nothing_of_labels_is_refused(learner: dict[str, Any]) -> None:
    labels = experiment(learner=learner, training={"loss": "multilabel"})
    with pytest.raises(LearnerError, match="training.loss multilabel needs a learner that learns"):
        build_learner(labels, classes=None, sample=torch.zeros(1, 2))


def test_laplace_does_not_know_the_curvature_of_labels() -> None:
    member = {"name": "examples.digits.model:DigitClassifier", "options": {"features": 2}}
    laplace = {"name": "laplace", "options": {"member": member}}
    labels = experiment(learner=laplace, training={"loss": "multilabel"})
    with pytest.raises(LearnerError, match="laplace knows .* not of the loss multilabel"):
        build_learner(labels, classes=None, sample=torch.zeros(1, 2))


def test_classes_are_not_labels() -> None:
    labels = experiment(training={"loss": "multilabel"})
    with pytest.raises(LearnerError, match=r"targets \(n, labels\) .* the pool has 2 classes"):
        build_learner(labels, classes=2, sample=torch.zeros(1, 2))


def test_a_learner_of_labels_must_be_known_as_one() -> None:
    class Mine:
        task = Task.MULTILABEL

        def fit(self, labeled: Any, job: Any) -> Any: ...
        def state_files(self) -> Any: ...
        def load_state_files(self, files: Any) -> None: ...

    with pytest.raises(LearnerError, match="learns several labels at once: set training.loss"):
        as_learner(Mine(), experiment(), classes=None, sample=None)
    labels = experiment(training={"loss": "multilabel"})
    assert as_learner(Mine(), labels, classes=None, sample=None).task is Task.MULTILABEL
