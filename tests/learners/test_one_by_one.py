"""What is kept while members are trained one after the other; the rest is in the contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from querist.learners import OneByOne, SklearnLearner
from querist.pools import LabeledSet, TensorPool
from querist.testing.small_training import KeptState, KilledError, killer
from querist.training.job import EpochReport

FEATURES = torch.rand(30, 4, generator=torch.Generator().manual_seed(5))
LABELED = LabeledSet(TensorPool(FEATURES), torch.arange(30), torch.arange(30) % 3)


def trees(number: int = 3, **more: Any) -> OneByOne:
    made = [SklearnLearner(DecisionTreeClassifier(**more), classes=3) for _ in range(number)]
    return OneByOne(made, reason="trees", bootstrap=True)


class Counted(SklearnLearner):
    """Counts how often it was fitted."""

    fits = 0

    def fit(self, labeled: Any, job: Any) -> Any:
        type(self).fits += 1
        return super().fit(labeled, job)


def test_epochs_are_counted_over_all_members(job: Any) -> None:
    seen: list[EpochReport] = []
    report = trees().fit(LABELED, job(on_epoch=seen.append))
    assert [(r.epoch, r.epochs) for r in seen] == [(1, 3), (2, 3), (3, 3)]
    assert (report.epochs, report.steps) == (1, 3)
    assert report.train_loss == pytest.approx(sum(r.train_loss for r in seen) / 3)


def test_members_that_were_done_are_not_trained_again(job: Any) -> None:
    def made() -> OneByOne:
        members = [Counted(DecisionTreeClassifier(), classes=3) for _ in range(3)]
        return OneByOne(members, reason="trees", bootstrap=True)

    whole = made()
    whole.fit(LABELED, job())
    kept = KeptState()
    Counted.fits = 0
    with pytest.raises(KilledError):
        made().fit(LABELED, job(partial=kept, checkpoint_epochs=1, on_epoch=killer(2)))
    assert Counted.fits == 3
    Counted.fits = 0
    again = made()
    report = again.fit(LABELED, job(partial=kept, checkpoint_epochs=1))
    assert Counted.fits == 1, "the two members that were kept were trained again"
    assert report.steps == 3
    assert again.state_files() == whole.state_files()


def test_files_are_named_by_member(job: Any) -> None:
    learner = trees(2)
    assert learner.state_files() == {}
    learner.fit(LABELED, job())
    assert list(learner.state_files()) == [
        "member_000.estimator.skops",
        "member_001.estimator.skops",
    ]


def test_seeds_are_the_members_own(job: Any) -> None:
    learner = trees(2, splitter="random", max_depth=1)
    learner = OneByOne(learner.members, reason="trees", bootstrap=False)
    learner.fit(LABELED, job())
    first, second = learner.predict_proba_samples(FEATURES)
    assert not torch.equal(first, second)
