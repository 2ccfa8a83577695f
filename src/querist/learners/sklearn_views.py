"""What a fitted scikit-learn estimator says beside its predictions: embeddings, and its members.

What there is is known from the estimator's type, before it is fitted.

    embeddings      features after a pipeline's transformers; hidden activations of an MLP; for a
                    linear model the features themselves, which is what it weighs
    members         the trees of a forest, the estimators of a bagging
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),  # which does not overflow
}


def has_embeddings(estimator: Any) -> bool:
    """Whether `embeddings` knows this type."""
    return _steps(estimator)[0] is not None or _is_network(estimator) or _is_linear(estimator)


def embeddings(estimator: Any, features: Array) -> Array:
    """What goes into the last layer of a fitted estimator: `(n, d)` -> `(n, e)`, n not 0."""
    transformers, last = _steps(estimator)
    if transformers is not None:
        features = _dense(transformers.transform(features))
    if _is_network(last):
        activate = _ACTIVATIONS[last.activation]
        layers = zip(last.coefs_[:-1], last.intercepts_[:-1], strict=True)
        for weights, biases in layers:
            features = activate(features @ weights + biases)
    return features


def has_members(estimator: Any) -> bool:
    """Whether it is a forest or a bagging, alone or at the end of a pipeline."""
    from sklearn import ensemble

    kinds = (
        ensemble.BaggingClassifier,
        ensemble.BaggingRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
    )
    return isinstance(_steps(estimator)[1], kinds)


def member_probabilities(estimator: Any, features: Array) -> Iterator[Array]:
    """Class probabilities of each member `(n, k)`, over the estimator's `classes_`, n not 0.

    A member of a bagging that has none votes: 1 for the class that it predicts.
    """
    for member, given in _members(estimator, features):
        whole = np.zeros((len(given), len(_steps(estimator)[1].classes_)))
        # A member of a bagging may have met some of the classes only, which it knows by number.
        if hasattr(member, "predict_proba"):
            said = member.predict_proba(given)
            whole[:, np.asarray(member.classes_).astype(np.int64)] = said
        else:
            whole[np.arange(len(given)), np.asarray(member.predict(given)).astype(np.int64)] = 1
        yield whole


def member_numbers(estimator: Any, features: Array) -> Iterator[Array]:
    """Predicted numbers of each member, `(n,)` or `(n, d)`, n not 0."""
    for member, given in _members(estimator, features):
        yield np.asarray(member.predict(given))


def _members(estimator: Any, features: Array) -> Iterator[tuple[Any, Array]]:
    transformers, last = _steps(estimator)
    if transformers is not None:
        features = _dense(transformers.transform(features))
    columns = getattr(last, "estimators_features_", None)
    for number, member in enumerate(last.estimators_):
        yield member, features if columns is None else features[:, columns[number]]


def _steps(estimator: Any) -> tuple[Any, Any]:
    """The transformers of a pipeline, or None, and what predicts."""
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1], estimator[-1]
    return None, estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _is_network(estimator: Any) -> bool:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return isinstance(estimator, MLPClassifier | MLPRegressor)


def _is_linear(estimator: Any) -> bool:
    """Whether it weighs features: generalized linear models, and discriminant analysis."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    last = _steps(estimator)[1]
    kinds = type(last).__mro__
    linear = any(kind.__module__.startswith("sklearn.linear_model.") for kind in kinds)
    return linear or isinstance(last, LinearDiscriminantAnalysis)


def _dense(features: Any) -> Array:
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features)
