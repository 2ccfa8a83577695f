from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from querist.config.training import TrainingConfig
from querist.learners import TorchLearner
from querist.training.job import TrainingJob
from querist.training.loop import DefaultLoop


def no_step(model: Any, batch: Any) -> Any:
    raise NotImplementedError


@pytest.fixture
def job() -> Callable[..., TrainingJob]:
    """A training job; keywords that the job has go to it, the others into its settings."""

    def make(**more: Any) -> TrainingJob:
        own = {k: more.pop(k) for k in list(more) if k in TrainingJob.__dataclass_fields__}
        base: dict[str, Any] = {
            "iteration": 0,
            "settings": TrainingConfig(**{"max_training_epochs": 3, "threads": 1, **more}),
            "seed": 1,
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "train_step": no_step,
            "validate_step": no_step,
        }
        return TrainingJob(**{**base, **own})

    return make


@pytest.fixture
def learner() -> Callable[..., TorchLearner]:
    """A torch learner with a module's seeded first weights."""

    def make(
        module: Callable[[], torch.nn.Module], classes: int | None = 2, **more: Any
    ) -> TorchLearner:
        own = {
            k: more.pop(k)
            for k in list(more)
            if k in ("sample", "train_step", "validate_step", "loop")
        }
        torch.manual_seed(0)
        return TorchLearner(
            module(),
            classes=classes,
            settings=TrainingConfig(**{"threads": 1, **more}),
            **{"sample": torch.zeros(1, 2), "loop": DefaultLoop(), **own},
        )

    return make
