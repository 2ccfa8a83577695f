"""What only estimators that learn batch by batch promise; the rest is in their contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import MultinomialNB

from querist.errors import ConfigurationError, LearnerError, UnknownNameError
from querist.learners import PartialFit, PartialFitLearner
from querist.pools import LabeledSet, TensorPool
from querist.training.job import EpochReport

FEATURES = torch.rand(60, 2, 2, generator=torch.Generator().manual_seed(5))
CLASSES = (FEATURES[:, 0, 0] * 3).long()


def labeled(n: int = 60) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), CLASSES[:n])


def linear(**more: Any) -> PartialFitLearner:
    return PartialFitLearner(SGDClassifier(loss="log_loss", **more), classes=3, threads=1)


def test_it_goes_on_where_it_was(job: Any) -> None:
    learner = linear()
    learner.fit(labeled(30), job())
    steps = learner._fitted.t_
    report = learner.fit(labeled(), job(iteration=1, max_fine_tuning_epochs=2))
    assert learner._fitted.t_ == steps + 2 * 60
    assert (report.epochs, report.steps, report.samples) == (2, 2 * 4, 120)
    learner.fit(labeled(), job(iteration=2, warm_start="scratch"))
    assert learner._fitted.t_ == 1 + 3 * 60


def test_counts_add_up() -> None:
    from querist.learners.partial_fit import _batches

    def rows(n: int, last: str) -> list[int]:
        settings = type("S", (), {"batch_size": 8, "last_batch": last})
        given: Any = type("J", (), {"settings": settings})
        found = list(_batches(n, given, 3))
        assert set(np.concatenate(found)) <= set(range(n))
        return [len(batch) for batch in found]

    assert rows(20, "keep") == [8, 8, 4]
    assert rows(20, "drop") == [8, 8]
    assert rows(20, "fill") == [8, 8, 8]
    assert rows(5, "drop") == [5]
    assert rows(3, "fill") == [8]


def test_orders_differ_by_epoch_and_seed(job: Any) -> None:
    def trained(**more: Any) -> torch.Tensor:
        learner = linear()
        learner.fit(labeled(), job(**more))
        return learner.predict_proba(FEATURES)

    assert torch.equal(trained(), trained())
    assert not torch.equal(trained(), trained(seed=2))
    first, second = job().epoch_seed(0), job().epoch_seed(1)
    assert first != second


def test_every_epoch_is_told_with_its_losses(job: Any) -> None:
    seen: list[EpochReport] = []
    report = linear().fit(labeled(40), job(on_epoch=seen.append, validation=labeled()))
    assert [(r.epoch, r.epochs) for r in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1].train_loss == report.train_loss
    assert seen[-1].validation_loss == report.validation_loss
    assert report.validation_loss != report.train_loss


def test_early_stopping_brings_the_best_back(job: Any) -> None:
    learner = linear(learning_rate="constant", eta0=50.0)
    seen: list[EpochReport] = []
    report = learner.fit(
        labeled(30),
        job(
            validation=labeled(),
            max_training_epochs=40,
            early_stopping={"patience": 3},
            on_epoch=seen.append,
        ),
    )
    assert report.stopped_early
    assert report.epochs == len(seen) < 40
    assert report.validation_loss == min(r.validation_loss for r in seen if r.validation_loss)
    proba = learner.predict_proba(FEATURES)[torch.arange(60), CLASSES]
    assert float(-proba.clip(min=1e-12).log().mean()) == pytest.approx(report.validation_loss)


def test_the_best_survives_a_kill(job: Any) -> None:
    from querist.testing.small_training import KeptState, KilledError, killer

    settings: dict[str, Any] = {
        "validation": labeled(),
        "max_training_epochs": 40,
        "early_stopping": {"patience": 3},
        "checkpoint_epochs": 1,
    }
    whole = linear(learning_rate="constant", eta0=50.0)
    expected = whole.fit(labeled(30), job(**settings))
    kept = KeptState()
    last = expected.epochs - 1
    with pytest.raises(KilledError):
        linear(learning_rate="constant", eta0=50.0).fit(
            labeled(30), job(partial=kept, on_epoch=killer(last - 1), **settings)
        )
    again = linear(learning_rate="constant", eta0=50.0)
    assert again.fit(labeled(30), job(partial=kept, **settings)) == expected
    assert torch.equal(again.predict_proba(FEATURES), whole.predict_proba(FEATURES))


def test_no_epochs_change_nothing(job: Any) -> None:
    learner = linear()
    learner.fit(labeled(), job())
    files = learner.state_files()
    report = learner.fit(labeled(), job(iteration=1, max_fine_tuning_epochs=0))
    assert (report.epochs, report.steps) == (0, 0)
    assert learner.state_files() == files


def test_estimators_that_do_not_fit() -> None:
    for name, parameters in (("LogisticRegression", {}), ("MLPClassifier", {"solver": "lbfgs"})):
        with pytest.raises(ConfigurationError, match=f"{name} has no partial_fit.*SGDClassifier"):
            PartialFit(name, parameters)
    with pytest.raises(UnknownNameError, match="did you mean 'SGDClassifier'"):
        PartialFit("SGDClasifier")
    with pytest.raises(LearnerError, match="Perceptron gives no class probabilities"):
        PartialFitLearner(PartialFit("Perceptron")._estimator, classes=3)


def test_what_an_estimator_cannot_do(job: Any) -> None:
    learner = linear()
    learner.fit(labeled(), job())
    with pytest.raises(LearnerError, match="shrink_and_perturb is for torch modules"):
        learner.fit(labeled(), job(iteration=1, warm_start="shrink_and_perturb"))
    negative = LabeledSet(TensorPool(-FEATURES), torch.arange(60), CLASSES)
    bayes = PartialFitLearner(MultinomialNB(), classes=3)
    with pytest.raises(LearnerError, match="MultinomialNB cannot learn from the 60 labels: Neg"):
        bayes.fit(negative, job())
    wild = PartialFitLearner(SGDRegressor(learning_rate="constant", eta0=1e300), classes=None)
    numbers = LabeledSet(TensorPool(FEATURES * 1e3), torch.arange(60), FEATURES.sum((1, 2)))
    with pytest.raises(LearnerError, match="SGDRegressor cannot learn|must be finite"):
        wild.fit(numbers, job())
