"""Each learner that says something wrong of its views fails its contract, with the words why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from querist.learners import SklearnLearner
from querist.testing import LearnerContract, small_training
from querist.views import View


class Linear(SklearnLearner):
    """A learner that keeps the contract: the features are its embeddings."""

    def __init__(self) -> None:
        super().__init__(LogisticRegression(), classes=3, threads=1)


class WithLogits(Linear):
    """Says logits, and embeddings that they are no linear function of."""

    views = frozenset({View.EMBEDDINGS, View.LOGITS})

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = self.predict_proba(features).log()
        said = {View.LOGITS: logits, View.EMBEDDINGS: self.embedded(features)}
        return tuple(said[view] for view in views)

    def embedded(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :1].double()


def broken(look: Any) -> type[Linear]:
    return type("Broken", (Linear,), {"look": look})


def flat(features: torch.Tensor) -> torch.Tensor:
    return features.reshape(len(features), -1)


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (broken(lambda s, v, f: (flat(f)[:, 0],)), "embeddings is no answer: embeddings of 60"),
        (broken(lambda s, v, f: (flat(f) * torch.nan,)), "embeddings is no answer: .* NaN"),
        (broken(lambda s, v, f: (flat(f).long(),)), "embeddings are floats, not torch.int64"),
        (broken(lambda s, v, f: (flat(f) - flat(f).mean(),)), "depend on how features are split"),
        (broken(lambda s, v, f: (torch.rand(len(f), 4),)), "the global generator of torch was"),
        (broken(lambda s, v, f: (f.mul_(2),)), "being looked into changed the features"),
        (WithLogits, "logits are no linear function of the embeddings"),
    ],
)
def test_a_broken_learner_fails(learner: Any, message: str, complaints: Any) -> None:
    before = small_training.FEATURES.clone()
    suite = LearnerContract()
    suite.learns_from_one_class = False
    try:
        found = [c for c in complaints(suite, learner) if "views" in c or "embeddings" in c]
    finally:
        small_training.FEATURES.copy_(before)
    assert any(re.search(message, complaint) for complaint in found), found


def test_a_good_one_passes(complaints: Any) -> None:
    suite = LearnerContract()
    suite.learns_from_one_class = False
    assert not [c for c in complaints(suite, Linear) if "views" in c or "embeddings" in c]
