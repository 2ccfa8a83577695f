"""What a model is and how it is fitted: enough to build it again from a checkpoint."""

from __future__ import annotations

from pydantic import Field, JsonValue

from querist.config.component import Component
from querist.config.group import Group
from querist.config.subsets import SubsetName
from querist.config.training import TrainingConfig


class LearnerSettings(Group):
    """A model, how it is fitted, and the seed of its first weights."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """All randomness is derived from it."""

    learner: Component
    """The model: `sklearn` with an estimator, or a torch module of an allowed package."""

    training: TrainingConfig = TrainingConfig()
    """How the learner is fitted."""


class VersionSettings(LearnerSettings):
    """What a version of a registered model is, and which items it was trained and compared on."""

    train_subset: SubsetName
    """The subset that it was trained on."""

    test_subset: SubsetName
    """The subset that it was compared on."""

    train_filter: dict[str, JsonValue] | None = None
    """Only items of the train subset that match."""

    test_filter: dict[str, JsonValue] | None = None
    """Only items of the test subset that match."""
