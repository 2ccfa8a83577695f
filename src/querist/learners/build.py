"""The learner that an experiment names."""

from __future__ import annotations

from typing import Any, cast

import torch

from querist.config.component import Component
from querist.config.experiment import Experiment
from querist.errors import LearnerError
from querist.learners.sklearn_learner import SklearnLearner
from querist.learners.torch_learner import TorchLearner
from querist.protocols import Learner
from querist.randomness import SETUP, derive_seed, seeded_globally
from querist.registry import build, is_import_path
from querist.training.threads import choose_threads


def build_learner(
    experiment: Experiment, *, classes: int | None, sample: torch.Tensor | None
) -> Learner:
    """The experiment's learner with its first weights.

    Args:
        experiment: names the learner and the training settings.
        classes: number of classes; None for regression.
        sample: features of one sample `(1, ...)`; None where only the user's steps know.

    Raises:
        LearnerError: what the name gives is no model, or does not fit the data.
    """
    seed = derive_seed(experiment.seed, SETUP, "setup", "first weights")
    with seeded_globally(seed):
        made = build("learner", experiment.learner.name, experiment.learner.options)
    return as_learner(made, experiment, classes=classes, sample=sample)


def as_learner(
    made: Any, experiment: Experiment, *, classes: int | None, sample: torch.Tensor | None
) -> Learner:
    """A module, an estimator or a learner as a learner.

    Raises:
        LearnerError: it is none of them, or does not fit the data.
    """
    training = experiment.training
    if isinstance(made, torch.nn.Module):
        return TorchLearner(
            made,
            classes=classes,
            sample=sample,
            settings=training,
            loop=build("loop", training.loop.name, training.loop.options),
            train_step=_step(training.train_step_fn),
            validate_step=_step(training.validate_step_fn),
        )
    if all(hasattr(made, method) for method in ("fit", "state_files", "load_state_files")):
        told = getattr(made, "learns", None)
        if callable(told):
            told(classes)
        return cast(Learner, made)
    if all(hasattr(made, method) for method in ("fit", "predict", "get_params")):
        return SklearnLearner(made, classes=classes, threads=choose_threads(training.threads, 0))
    raise LearnerError(
        f"{experiment.learner.name!r} gives a {type(made).__name__}: a learner is a "
        "torch.nn.Module, a scikit-learn estimator, or has fit, state_files and load_state_files"
    )


def _step(component: Component | None) -> Any:
    """A step function: the named function itself, or what it makes from its options."""
    if component is None:
        return None
    if is_import_path(component.name) and not component.options:
        from querist.registry import find

        return find("step", component.name)
    return build("step", component.name, component.options)
