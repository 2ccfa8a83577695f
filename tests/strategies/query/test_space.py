from __future__ import annotations

from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.space import SPACES, Space
from querist.testing import LinearNumbers
from querist.values import Task
from querist.views import View


class Plain:
    """A learner without embeddings."""

    task = Task.CLASSIFICATION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(features), 1)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(features), dtype=torch.int64)


@pytest.mark.parametrize(
    ("space", "with_embeddings", "without"),
    [
        ("auto", View.EMBEDDINGS, View.FEATURES),
        ("features", View.FEATURES, View.FEATURES),
        ("embeddings", View.EMBEDDINGS, None),
    ],
)
def test_the_view_by_option_and_learner(space: str, with_embeddings: View, without: Any) -> None:
    assert Space(space).view(LinearNumbers(torch.ones(4))) is with_embeddings
    if without is not None:
        assert Space(space).view(Plain()) is without
        return
    with pytest.raises(StrategyError, match=r"space=embeddings needs the learner's embeddings"):
        Space(space).view(Plain())


def test_only_wanted_embeddings_are_needed() -> None:
    assert {space: Space(space).needs for space in SPACES} == {
        "auto": View.FEATURES,
        "embeddings": View.EMBEDDINGS,
        "features": View.FEATURES,
    }


@pytest.mark.parametrize("space", ["embedding", "", 3, None])
def test_another_space_is_refused(space: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"space"):
        Space(space)
