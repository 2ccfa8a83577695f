from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from querist.errors import ConfigurationError, LearnerError, StrategyError
from querist.learners import SklearnLearner
from querist.registry import build
from querist.strategies.query.space import SPACES, Space
from querist.testing import LinearNumbers, query_context
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


@pytest.mark.parametrize("kept", [False, True])
def test_samples_come_in_the_order_that_was_asked(kept: bool) -> None:
    context = query_context()
    if kept:
        context.gather(View.EMBEDDINGS)
    wanted = context.unlabeled[[5, 2, 9]]
    expected = context.pool.features(wanted).double()
    assert torch.equal(Space("auto").of(context, wanted), expected)
    assert torch.equal(Space("features").all(context), context.pool.features(context.unlabeled))


def test_what_was_asked_before_is_not_asked_again() -> None:
    class Once(LinearNumbers):
        looks = 0

        def look(self, views: Any, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
            self.looks += 1
            return super().look(views, features)

    learner = Once(torch.ones(4))
    context = query_context(learner=learner, chunk_size=1000)
    Space("auto").all(context)
    Space("auto").of(context, context.unlabeled[[3, 1]])
    assert learner.looks == 1


@pytest.mark.parametrize("name", ["k_center", "max_herding", "typiclust"])
def test_before_the_first_training_features_stand_for_embeddings(name: str) -> None:
    learner = SklearnLearner(LogisticRegression(), classes=2)
    context = query_context(learner=learner, labeled=())
    assert Space("auto").view(learner) is View.FEATURES
    chosen = build("query", name, {"space": "features"}).sample(context, 5)
    again = query_context(learner=learner, labeled=())
    assert build("query", name, {}).sample(again, 5) == chosen
    # It is known before the run starts what there will be.
    assert Space("embeddings").view(learner) is View.EMBEDDINGS
    with pytest.raises(LearnerError, match="only after it was fitted"):
        build("query", name, {"space": "embeddings"}).sample(context, 5)
