"""The model inside a learner that is made of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

from querist.config.component import Component
from querist.config.load import explain
from querist.errors import ConfigurationError, LearnerError
from querist.learners.build import LearnerContext
from querist.learners.torch_learner import TorchLearner
from querist.registry import check_options


def named_member(owner: str, member: str | Mapping[str, Any]) -> Component:
    """The component that `member` names, as a configuration does.

    Raises:
        ConfigurationError: it is none, or is not known or allowed.
    """
    try:
        component = Component.model_validate(member)
    except ValidationError as error:
        raise ConfigurationError(f"the member of {owner}: {explain(error, Component)}") from error
    check_options("learner", component.name, component.options)
    return component


def torch_member(owner: str, component: Component, context: LearnerContext) -> TorchLearner:
    """The member as a torch learner.

    Raises:
        LearnerError: it is no torch module.
    """
    made = context.model(component, context.seed)
    if not isinstance(made, torch.nn.Module):
        raise LearnerError(
            f"the member of {owner} is a torch.nn.Module, and {component.name!r} gives a "
            f"{type(made).__name__}: name a module of an allowed package"
        )
    learner = context.learner(
        made, seed=context.seed, remake=lambda seed: context.model(component, seed)
    )
    assert isinstance(learner, TorchLearner)
    return learner
