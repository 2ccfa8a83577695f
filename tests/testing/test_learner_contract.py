"""Each broken learner fails its contract, with the words that say why."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from querist.learners import SklearnLearner
from querist.testing import LearnerContract, check_learner
from querist.values import Task


class Tree(SklearnLearner):
    """A learner that keeps the contract."""

    def __init__(self) -> None:
        super().__init__(DecisionTreeClassifier(), classes=3, threads=1)


def broken(**methods: Any) -> type[Tree]:
    return type("Broken", (Tree,), methods)


def test_good_ones_pass() -> None:
    check_learner(Tree)
    tree = {"name": "sklearn", "options": {"estimator": "DecisionTreeRegressor"}}
    check_learner(tree, task=Task.REGRESSION)


class Sampling(Tree):
    """Gives samples as well."""

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.predict_proba(features)] * 2)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        return self.predict_proba_samples(features).argmax(2)


def test_samples_are_looked_at(complaints: Any) -> None:
    check_learner(Sampling)

    class Noisy(Sampling):
        def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
            return torch.rand(2, len(features), 3).softmax(2)

    class Flat(Sampling):
        def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
            return self.predict_proba_samples(features)

    found = complaints(LearnerContract(), Noisy)
    assert any("global generator of torch was used" in c for c in found), found
    found = complaints(LearnerContract(), Flat)
    assert any("samples are (2, 60), not" in c for c in found), found


def proba(self: Any, features: torch.Tensor) -> torch.Tensor:
    return Tree.predict_proba(self, features)


def by_chunk(self: Any, features: torch.Tensor) -> torch.Tensor:
    found = proba(self, features)
    return found.flip(1) if len(features) == 7 else found


class Counting(Tree):
    """Predicts once more each time."""

    asked = 0

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return super().predict_proba(features)

    def state_files(self) -> dict[str, bytes]:
        return {**super().state_files(), "asked": str(self.asked).encode()}


class Lying(Tree):
    """Says that it predicts numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.task = Task.REGRESSION


def random_fit(self: Any, labeled: Any, job: Any) -> Any:
    self._seed = lambda estimator, seed_of: estimator.set_params(
        splitter="random", max_depth=1, random_state=int(torch.randint(10**6, ()))
    )
    return SklearnLearner.fit(self, labeled, job)


def forgetful(self: Any, files: Mapping[str, bytes]) -> None:
    """Does not load."""


def only_known(self: Any, features: torch.Tensor) -> torch.Tensor:
    found = proba(self, features)
    return found[:, [int(c) for c in self._fitted.classes_]]


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (broken(predict_proba=lambda s, f: proba(s, f) * 2), "rows of predict_proba sum to 1"),
        (broken(predict_proba=lambda s, f: proba(s, f) * torch.nan), "must be finite"),
        (broken(predict_proba=lambda s, f: proba(s, f)[:, :2]), "(60, 3), not (60, 2)"),
        (broken(predict=lambda s, f: torch.zeros(len(f), dtype=torch.int64)), "not the class of"),
        (broken(predict=lambda s, f: proba(s, f).argmax(1).float()), "classes are int64"),
        (broken(predict_proba=by_chunk), "depends on how features are split"),
        (broken(predict_proba=only_known), "predict_proba gives (60, 3), not (60, 2)"),
        (Counting, "predictions changed the learner's state"),
        (broken(fit=random_fit), "the global generator of torch was used or seeded"),
        (broken(load_state_files=forgetful), "predicts only after it was fitted"),
        (broken(reset=lambda s: None), "after a reset the state is not that of a fresh learner"),
        (broken(state_files=lambda s: {"a/b": b""}), "'a/b' cannot be a file of a checkpoint"),
        (broken(state_files=lambda s: {"a": pickle.dumps([1])}), "a is a pickle"),
        (broken(fit=lambda s, labeled, job: None), "fit returned None"),
        (Lying, "the task is classification, not"),
    ],
)  # fmt: skip
def test_a_broken_learner_fails(learner: Any, message: str, complaints: Any) -> None:
    found = complaints(LearnerContract(), learner)
    assert any(message in complaint for complaint in found), found


def test_a_learner_that_learns_nothing_fails() -> None:
    stump = broken(predict_proba=lambda s, f: torch.full((len(f), 3), 1 / 3))
    with pytest.raises(AssertionError, match=r"it reached 0\.33, not 0\.8"):
        check_learner(stump)
