"""What a learner can be asked about samples, by name, and the shape that comes back.

A learner answers what it can: `predict_proba` or `predict` are enough for most strategies, and an
attribute `views` with a method `look` says what there is beyond. What is not there is named in an
error, with the strategies that the learner can run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from querist.errors import StrategyError
from querist.values import Task
from querist.view_checks import check_view

if TYPE_CHECKING:
    from querist.protocols import Predictor


_NO_AMOUNTS = (torch.int32, torch.int64, torch.uint32, torch.uint64)
"""Types of features that are no amounts; images are of 8 or 16 bits."""


class View(StrEnum):
    """What may be asked about n samples, of c classes (or c labels, or numbers)."""

    FEATURES = "features"
    """The pool's own features, flattened: `(n, d)`, floats. Every learner has them."""
    PROBABILITIES = "probabilities"
    """Class probabilities `(n, c)`, rows sum to 1."""
    LABEL_PROBABILITIES = "label_probabilities"
    """How likely each label of a multi-label sample is, `(n, c)`, each for itself."""
    LOGITS = "logits"
    """What the probabilities are the softmax of, `(n, c)`."""
    GRADIENTS = "gradients"
    """Gradient of the loss at the predicted class with respect to the logits: `(n, c)`.

    That of the last layer is its outer product with the embeddings, which nobody builds.
    """
    EMBEDDINGS = "embeddings"
    """What goes into the last layer, `(n, d)`."""
    NUMBERS = "numbers"
    """Predicted numbers `(n, c)`. Regression."""
    PROBABILITY_SAMPLES = "probability_samples"
    """Class probabilities of t equally likely models, `(t, n, c)`."""
    NUMBER_SAMPLES = "number_samples"
    """Predicted numbers of t equally likely models, `(t, n, c)`. Regression."""
    VARIANCES = "variances"
    """Variances of the predicted numbers, `(n, c)`. Regression.

    By the learner's `predict_variance`, or of its number samples.
    """

    @property
    def rows(self) -> int:
        """The dimension that counts samples."""
        return 1 if self in (View.PROBABILITY_SAMPLES, View.NUMBER_SAMPLES) else 0


@runtime_checkable
class ViewedPredictor(Protocol):
    """A predictor that can say more than `predict` and `predict_proba` do."""

    @property
    def views(self) -> frozenset[View]:
        """What `look` answers."""
        ...

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One tensor for each of `views`, in their order, from one pass over `features`.

        They lie on the device that computed them. Nothing in the learner changes.
        """
        ...


def views_of(learner: Predictor) -> frozenset[View]:
    """What a learner can be asked for."""
    found = {View.FEATURES, *getattr(learner, "views", ())}
    # A `SamplingPredictor`; that `isinstance` finds out takes as long as scoring some thousands.
    samples = hasattr(learner, "predict_proba_samples") and hasattr(learner, "predict_samples")
    if learner.task is Task.CLASSIFICATION:
        found |= {View.PROBABILITIES, View.LOGITS, View.GRADIENTS}
        found |= {View.PROBABILITY_SAMPLES} if samples else set()
    elif learner.task is Task.REGRESSION:
        found |= {View.NUMBERS} | ({View.NUMBER_SAMPLES} if samples else set())
        found |= {View.VARIANCES} if samples or hasattr(learner, "predict_variance") else set()
    elif learner.task is Task.MULTILABEL:
        found |= {View.LABEL_PROBABILITIES}
    return frozenset(found)


def require_views(learner: Predictor, views: Iterable[View], strategy: str) -> None:
    """Refuse a strategy that needs what the learner cannot give.

    Raises:
        StrategyError: which view is missing, what the learner has, and what it can run.
    """
    there = views_of(learner)
    missing = [view for view in views if view not in there]
    if not missing:
        return
    raise StrategyError(
        f"{strategy} needs the learner's {_words(missing)}, and a {learner.task} learner "
        f"({type(learner).__name__}) gives {_words(sorted(there))}: it can run "
        f"{_words(_runnable(there))}"
    )


def needs_of(strategy: Any) -> tuple[View, ...]:
    """The views that a query strategy asks for, with the options that it has.

    An attribute `needs` of its own goes before what its class is about.
    """
    about = getattr(strategy, "about", None)
    own = getattr(strategy, "needs", () if about is None else about.needs)
    return tuple(own)


def _runnable(there: frozenset[View]) -> list[str]:
    """Names of the query strategies that need no more than is there, and no other learner."""
    from querist.registry import components

    return [
        found.name
        for found in components("query")
        if (about := getattr(found.factory, "about", None)) and set(about.needs) <= there
        and getattr(found.factory, "wants_committee", False) is not True
    ]  # fmt: skip


def _words(names: Sequence[str]) -> str:
    return ", ".join(str(name).replace("_", " ") if isinstance(name, View) else name
                     for name in names)  # fmt: skip


def look(
    learner: Predictor, views: Sequence[View], features: torch.Tensor, indices: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """What the learner says of samples, a tensor for each of `views`, checked.

    Args:
        learner: who is asked; it has these views.
        views: what is asked.
        features: of the samples `(m, ...)`.
        indices: their numbers `(m,)`, for messages.

    Raises:
        StrategyError: the shape is not that of the view, or a number is NaN or infinite.
    """
    own: frozenset[View] = getattr(learner, "views", frozenset())
    asked = [view for view in views if view in own]
    found = dict(zip(asked, learner.look(asked, features), strict=True)) if asked else {}  # type: ignore[attr-defined]
    for view in views:
        if view not in found:
            found[view] = _derived(learner, view, features, found)
        found[view] = check_view(view, found[view], indices)
    return tuple(found[view] for view in views)


def _derived(
    learner: Predictor, view: View, features: torch.Tensor, found: dict[View, torch.Tensor]
) -> torch.Tensor:
    """A view that follows from what every learner of the task has."""
    if view is View.FEATURES:
        return flattened(features)
    if view in (View.PROBABILITIES, View.LABEL_PROBABILITIES):
        return learner.predict_proba(features)
    if view is View.NUMBERS:
        return learner.predict(features)
    if view is View.PROBABILITY_SAMPLES:
        return learner.predict_proba_samples(features)  # type: ignore[attr-defined,no-any-return]
    if view is View.NUMBER_SAMPLES:
        return learner.predict_samples(features)  # type: ignore[attr-defined,no-any-return]
    if view is View.VARIANCES:
        if hasattr(learner, "predict_variance"):
            return learner.predict_variance(features)  # type: ignore[no-any-return]
        return _variances(learner.predict_samples(features))  # type: ignore[attr-defined]
    if View.PROBABILITIES not in found:
        found[View.PROBABILITIES] = learner.predict_proba(features)
    probabilities = found[View.PROBABILITIES]
    if view is View.LOGITS:
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    return gradients_at_logits(probabilities)


def _variances(samples: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of t models from their mean: `(t, n, ...)` -> `(n, ...)`, doubles.

    Model by model: the order of sums in a reduction may depend on where in a chunk a row stands.
    """
    total = torch.zeros(samples.shape[1:], dtype=torch.float64, device=samples.device)
    for one in samples:
        total += one
    mean, squares = total / len(samples), torch.zeros_like(total)
    for one in samples:
        squares += (one - mean).square()
    return squares / len(samples)


def gradients_at_logits(probabilities: torch.Tensor) -> torch.Tensor:
    """Gradient of the cross-entropy at the most probable class: p less its one-hot, `(n, c)`."""
    highest = probabilities.argmax(1, keepdim=True)
    return probabilities.scatter_add(
        1, highest, torch.full_like(highest, -1, dtype=probabilities.dtype)
    )


def flattened(features: torch.Tensor) -> torch.Tensor:
    """Features `(n, ...)` as floats `(n, d)`.

    Raises:
        StrategyError: they are no tensor, or integers of 32 or 64 bits, which are numbers of
            something (the tokens of a text) more often than they are amounts.
    """
    if not isinstance(features, torch.Tensor):
        raise StrategyError(
            f"distances need features that are numbers, and this pool's are "
            f"{type(features).__name__}: use a query strategy that asks the learner alone"
        )
    if features.dtype in _NO_AMOUNTS:
        raise StrategyError(
            f"distances need features that are amounts, and this pool's are {features.dtype}, such "
            "as the numbers of tokens: set space: embeddings, or give the pool floats instead"
        )
    flat = features.reshape(len(features), math.prod(features.shape[1:]))
    return flat if flat.is_floating_point() else flat.float()
