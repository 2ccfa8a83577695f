"""The learner that settings name: those of an experiment, or of a model version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch

from querist.config.component import Component
from querist.config.training import TrainingConfig
from querist.errors import LearnerError
from querist.learners.sklearn_learner import SklearnLearner
from querist.learners.sklearn_members import SklearnMembers
from querist.learners.sklearn_views import has_members
from querist.learners.torch_learner import TorchLearner
from querist.protocols import Learner
from querist.randomness import SETUP, derive_seed, seeded_globally
from querist.registry import build, is_import_path
from querist.training.threads import choose_threads
from querist.values import Task


class DescribesLearner(Protocol):
    """Settings that a learner can be built from: an `Experiment`, or `LearnerSettings`."""

    @property
    def seed(self) -> int:
        """The first weights are derived from it."""
        ...

    @property
    def learner(self) -> Component:
        """The model."""
        ...

    @property
    def training(self) -> TrainingConfig:
        """How it is fitted."""
        ...


@dataclass(frozen=True)
class LearnerContext:
    """What a learner is made for.

    Attributes:
        settings: how it is fitted, and the run's seed.
        classes: number of classes; None for regression.
        sample: features of one sample `(1, ...)`; None where only the user's steps know.
        seed: its first weights, and those of its members, are derived from it.
    """

    settings: DescribesLearner
    classes: int | None
    sample: torch.Tensor | None
    seed: int

    def model(self, component: Component, seed: int) -> Any:
        """What a member's name gives, made with first weights from `seed`."""
        return _make_model(component, seed, self.classes)

    def learner(
        self, model: Any, *, seed: int, remake: Callable[[int], Any] | None = None
    ) -> Learner:
        """What a run would make of this model.

        Args:
            model: a module, an estimator, a learner, or what makes one.
            seed: that the model was made from.
            remake: `seed -> model`, the same with other first weights.
        """
        return as_learner(
            model,
            self.settings,
            classes=self.classes,
            sample=self.sample,
            remake=remake,
            seed=seed,
        )


@runtime_checkable
class MakesLearner(Protocol):
    """A component that is no model: it makes the learner once the task is known."""

    def make_learner(self, context: LearnerContext) -> Learner:
        """The learner, with its first weights; the same ones for the same context."""
        ...


def build_learner(
    settings: DescribesLearner, *, classes: int | None, sample: torch.Tensor | None
) -> Learner:
    """The learner that the settings name, with its first weights.

    Args:
        settings: the learner, how it is fitted, and the seed.
        classes: number of classes; None for regression.
        sample: features of one sample `(1, ...)`; None where only the user's steps know.

    Raises:
        LearnerError: what the name gives is no model, or does not fit the data.
    """

    def make(seed: int) -> Any:
        return _make_model(settings.learner, seed, classes)

    made = make(_first_seed(settings))
    return as_learner(made, settings, classes=classes, sample=sample, remake=make)


def _make_model(component: Component, seed: int, classes: int | None) -> Any:
    """What the name gives, with first weights from `seed`, told how many classes there are."""
    with seeded_globally(seed):
        made = build("learner", component.name, component.options)
        told = getattr(made, "learns", None)
        if callable(told):  # in here, since a module may make its weights only now
            told(classes)
        return made


def _first_seed(settings: DescribesLearner) -> int:
    return derive_seed(settings.seed, SETUP, "setup", "first weights")


def as_learner(
    made: Any,
    settings: DescribesLearner,
    *,
    classes: int | None,
    sample: torch.Tensor | None,
    remake: Callable[[int], Any] | None = None,
    seed: int | None = None,
) -> Learner:
    """A module, an estimator, a learner, or what makes a learner, as a learner.

    Args:
        made: one of them.
        settings: how it is fitted, and the seed.
        classes: number of classes; None for regression.
        sample: features of one sample `(1, ...)`; None where only the user's steps know.
        remake: makes what was made once more, from another seed.
        seed: that it was made from; default: that of the run's first weights.

    Raises:
        LearnerError: it is none of them, or does not fit the data.
    """
    training = settings.training
    if training.ranks > 1 and not isinstance(made, torch.nn.Module):
        raise LearnerError(
            f"training.processes belongs to torch modules, and {settings.learner.name!r} gives a "
            f"{type(made).__name__}, which trains in one process: remove training.processes"
        )
    if isinstance(made, MakesLearner) and not isinstance(made, type):
        first = _first_seed(settings) if seed is None else seed
        learner = made.make_learner(LearnerContext(settings, classes, sample, first))
        return _following(learner, settings)
    if isinstance(made, torch.nn.Module):
        return TorchLearner(
            made,
            classes=classes,
            sample=sample,
            settings=training,
            loop=build("loop", training.loop.name, training.loop.options),
            train_step=_step(training.train_step_fn),
            validate_step=_step(training.validate_step_fn),
            remake=remake,
            # Without `remake` it was handed over as it is, and its name says nothing of it.
            recipe=None if remake is None else settings,
        )
    if all(hasattr(made, method) for method in ("fit", "state_files", "load_state_files")):
        return _following(made, settings)
    if all(hasattr(made, method) for method in ("fit", "predict", "get_params")):
        threads = choose_threads(training.threads, 0)
        kind = SklearnMembers if has_members(made) else SklearnLearner
        return _following(kind(made, classes=classes, threads=threads), settings)
    raise LearnerError(
        f"{settings.learner.name!r} gives a {type(made).__name__}: a learner is a "
        "torch.nn.Module, a scikit-learn estimator, or has fit, state_files and load_state_files"
    )


def _following(learner: Any, settings: DescribesLearner) -> Learner:
    """The learner, unless a setting would go unheard.

    A learner that is no torch module says by an attribute `follows` which of the settings for
    torch modules it follows all the same. One without it sees the settings in its job, and is
    trusted with them.
    """
    _check_task(learner, settings)
    asked = settings.training.of_torch_modules if hasattr(learner, "follows") else []
    for key in asked:
        if key not in learner.follows:
            raise LearnerError(
                f"training.{key} belongs to torch modules, and the learner "
                f"{settings.learner.name!r} ({type(learner).__name__}) does not follow it: remove "
                "it, or name a learner that is a torch module"
            )
    return cast(Learner, learner)


def _check_task(learner: Any, settings: DescribesLearner) -> None:
    """Refuse a learner that knows nothing of labels where targets are labels, and the reverse."""
    named = f"the learner {settings.learner.name!r} ({type(learner).__name__})"
    task = getattr(learner, "task", None)
    if settings.training.loss == "multilabel" and task is not Task.MULTILABEL:
        raise LearnerError(
            f"training.loss multilabel needs a learner that learns several labels at once, and "
            f"{named} does {task}: name a torch module, mc_dropout or ensemble"
        )
    if settings.training.loss != "multilabel" and task is Task.MULTILABEL:
        raise LearnerError(
            f"{named} learns several labels at once: set training.loss to multilabel, so that the "
            "run knows that targets are labels"
        )


def _step(component: Component | None) -> Any:
    """A step function: the named function itself, or what it makes from its options."""
    if component is None:
        return None
    if is_import_path(component.name) and not component.options:
        from querist.registry import find

        return find("step", component.name)
    return build("step", component.name, component.options)
