from __future__ import annotations

from typing import Any

import pytest
import torch

from querist.config.learner import LearnerSettings
from querist.errors import ConfigurationError, LearnerError, UnknownNameError
from querist.learners.build import LearnerContext
from querist.learners.member import named_member, torch_member

MLP = "examples.digits.model:DigitClassifier"


def context(component: Any, threads: Any = "auto") -> LearnerContext:
    training: Any = {"threads": threads, "device": "cpu"}
    settings = LearnerSettings(learner=component, training=training)
    return LearnerContext(settings, 10, torch.zeros(1, 64), seed=4)


def test_a_member_by_name_or_with_options() -> None:
    assert named_member("x", MLP).options == {}
    assert named_member("x", {"name": MLP, "options": {"hidden": 3}}).options == {"hidden": 3}
    with pytest.raises(ConfigurationError, match="the member of x: "):
        named_member("x", 3)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="learner component named 'sklern'"):
        named_member("x", "sklern")
    with pytest.raises(ConfigurationError, match="'sklearn' needs the option 'estimator'"):
        named_member("x", "sklearn")


def test_first_weights_are_those_of_the_seed() -> None:
    component = named_member("x", MLP)
    torch.rand(2)
    made = [torch_member("x", component, context(component)) for _ in range(2)]
    assert made[0].state_files() == made[1].state_files()


def test_a_member_that_is_no_module() -> None:
    component = named_member("x", {"name": "sklearn", "options": {"estimator": "Ridge"}})
    with pytest.raises(LearnerError, match="the member of x is a torch.nn.Module, and 'sklearn'"):
        torch_member("x", component, context(component))


def test_threads() -> None:
    component = named_member("x", MLP)
    assert torch_member("x", component, context(component)).threads == 1
    assert torch_member("x", component, context(component, threads=7)).threads == 7
