from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, ExtraTreesRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from querist.errors import LearnerError
from querist.learners.sklearn_learner import SklearnLearner
from querist.learners.sklearn_views import (
    embeddings,
    has_embeddings,
    has_members,
    member_numbers,
    member_probabilities,
)
from querist.views import View, views_of

DRAWN = np.random.default_rng(3)
X = DRAWN.random((50, 4))
Y = (X[:, 0] * 3).astype(int)
NUMBERS = X.sum(1)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.filterwarnings("ignore")
def test_the_last_hidden_layer_gives_what_the_network_predicts(kind: Any, activation: str) -> None:
    network = kind(hidden_layer_sizes=(6, 5), activation=activation, max_iter=20, random_state=0)
    network.fit(X, Y if kind is MLPClassifier else NUMBERS)
    found = embeddings(network, X)
    assert found.shape == (50, 5)
    outputs = found @ network.coefs_[-1] + network.intercepts_[-1]
    if kind is MLPRegressor:
        np.testing.assert_allclose(outputs[:, 0], network.predict(X), rtol=1e-10)
        return
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    np.testing.assert_allclose(
        powers / powers.sum(1, keepdims=True), network.predict_proba(X), rtol=1e-8, atol=1e-12
    )


def test_a_linear_model_weighs_the_features_themselves() -> None:
    model = LogisticRegression().fit(X, Y)
    assert embeddings(model, X) is X
    logits = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(logits, model.decision_function(X))


@pytest.mark.filterwarnings("ignore")
def test_after_the_transformers_of_a_pipeline() -> None:
    scaled = StandardScaler().fit_transform(X)
    trees = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(X, Y)
    np.testing.assert_allclose(embeddings(trees, X), scaled)
    two = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X, Y)
    assert embeddings(two, X).shape == (50, 2)
    network = MLPClassifier(hidden_layer_sizes=(5,), max_iter=5, random_state=0)
    both = make_pipeline(StandardScaler(), network).fit(X, Y)
    np.testing.assert_allclose(embeddings(both, X), embeddings(both[-1], scaled))


def test_sparse_features_become_dense() -> None:
    words = make_pipeline(TfidfTransformer(), LogisticRegression()).fit(X, Y)
    found = embeddings(words, X)
    assert type(found) is np.ndarray
    np.testing.assert_allclose((found**2).sum(1), 1)


@pytest.mark.parametrize(
    ("estimator", "embeds", "samples"),
    [
        (LogisticRegression(), True, False),
        (SGDClassifier(loss="log_loss"), True, False),
        (MLPClassifier(), True, False),
        (KNeighborsClassifier(), False, False),
        (DecisionTreeClassifier(), False, False),
        (RandomForestClassifier(), False, True),
        (make_pipeline(RandomForestClassifier()), False, True),
        (make_pipeline(StandardScaler(), RandomForestClassifier()), True, True),
        (BaggingClassifier(), False, True),
        (ExtraTreesRegressor(), False, True),
        (Ridge(), True, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_there_is_is_known_before_a_fit(estimator: Any, embeds: bool, samples: bool) -> None:
    assert (has_embeddings(estimator), has_members(estimator)) == (embeds, samples)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=5, random_state=0),
        BaggingClassifier(n_estimators=5, random_state=0, max_features=0.5, max_samples=0.3),
        make_pipeline(StandardScaler(), BaggingClassifier(n_estimators=5, random_state=0)),
        BaggingClassifier(LinearSVC(), n_estimators=5, random_state=0, max_samples=0.3),
    ],
    ids=["forest", "bagging", "pipeline", "votes"],
)
def test_the_mean_of_the_members_is_what_is_predicted(estimator: Any) -> None:
    """With classes 1, 5 and 9, of which a small draw may miss one."""
    estimator.fit(X, np.array([1, 5, 9])[Y])
    parts = list(member_probabilities(estimator, X))
    assert len(parts) == 5
    np.testing.assert_allclose(np.mean(parts, axis=0), estimator.predict_proba(X), rtol=1e-10)


def test_the_mean_of_the_trees_is_the_number_predicted() -> None:
    for targets in (NUMBERS, np.stack([NUMBERS, -NUMBERS], axis=1)):
        forest = ExtraTreesRegressor(n_estimators=4, random_state=0).fit(X, targets)
        parts = list(member_numbers(forest, X))
        np.testing.assert_allclose(np.mean(parts, axis=0), forest.predict(X), rtol=1e-10)


def test_a_learner_that_was_never_fitted_says_so() -> None:
    learner = SklearnLearner(LogisticRegression(), classes=3)
    assert View.EMBEDDINGS in views_of(learner)
    with pytest.raises(LearnerError, match="only after it was fitted"):
        learner.look([View.EMBEDDINGS], torch.zeros(2, 4))
