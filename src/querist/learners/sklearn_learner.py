"""A learner around any scikit-learn classifier or regressor."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import torch

from querist.errors import ConfigurationError, LearnerError, UnknownNameError
from querist.learners.samples import refuse_numbers
from querist.learners.sklearn_views import embeddings, has_embeddings
from querist.learners.trusted_types import TRUSTED
from querist.pools.labeled import LabeledSet
from querist.randomness import derive_seed
from querist.registry import register
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.values import Task
from querist.views import View

STATE = "estimator.skops"
_SCHEMA = "schema.json"


@register("learner", "sklearn")
def sklearn(estimator: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """A scikit-learn classifier or regressor by its class name, such as LogisticRegression."""
    known = _estimators()
    if estimator not in known:
        raise UnknownNameError("scikit-learn classifier or regressor", estimator[:200], known)
    try:
        found = known[estimator](**(parameters or {}))
        found._validate_params()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{estimator} refused its parameters: {error}") from error
    return found


@cache
def _estimators() -> dict[str, Any]:
    """All classifiers and regressors by name; looking for them takes tenths of a second."""
    from sklearn.utils import all_estimators

    return dict(all_estimators(type_filter=["classifier", "regressor"]))


class SklearnLearner:
    """Fits a clone of an estimator on all labels in every iteration.

    Features are flattened to `(n, d)`. Estimators with a `random_state` that is not set get one
    from the run's seed. Epochs, batches and optimizer do not apply.

    Attributes:
        follows: which of the settings for torch modules are followed; the others are refused.

    Args:
        estimator: anything with `fit` and `predict`; classifiers need `predict_proba` as well.
        classes: number of classes; None for regression.
        threads: CPU threads, or None to leave them alone.

    Raises:
        LearnerError: a classifier for numbers, a regressor for classes, or no `predict_proba`.
    """

    follows: tuple[str, ...] = ()

    def __init__(self, estimator: Any, *, classes: int | None, threads: int | None = None) -> None:
        from sklearn.base import is_classifier

        self.task = Task.REGRESSION if classes is None else Task.CLASSIFICATION
        self.classes = classes
        self._template = estimator
        self._fitted: Any = None
        # The bytes that it was loaded from: trees are stored with padding that is not restored.
        self._stored: bytes | None = None
        self._threads = threads
        name = type(estimator).__name__
        if is_classifier(estimator) != (self.task is Task.CLASSIFICATION):
            raise LearnerError(
                f"{name} is a {'classifier' if is_classifier(estimator) else 'regressor'}, but the "
                f"pool's targets are {'numbers' if classes is None else f'{classes} classes'}"
            )
        if self.task is Task.CLASSIFICATION and not hasattr(estimator, "predict_proba"):
            raise LearnerError(
                f"{name} gives no class probabilities (with these parameters): choose an estimator "
                "or parameters with predict_proba"
            )

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Fit a fresh clone on all labels."""
        from sklearn.base import clone

        estimator = clone(self._template)
        self._seed(estimator, lambda name: derive_seed(job.seed, job.iteration, "train", name))
        features, targets = flat(labeled.features()), labeled.targets.numpy()
        try:
            with self._limited():
                self._fitted, self._stored = estimator.fit(features, targets), None
                loss = self._training_loss(features, targets)
        except ValueError as error:
            raise LearnerError(
                f"{type(estimator).__name__} cannot learn from the {len(labeled)} labels: {error}"
            ) from error
        job.on_epoch(EpochReport(1, 1, loss))
        return TrainingReport(epochs=1, steps=1, train_loss=loss)

    def _limited(self) -> AbstractContextManager[Any]:
        """Inside, the threads of the setting: histogram boosting loses a hundredfold by too many
        on a busy machine, also when it predicts.
        """
        from threadpoolctl import threadpool_limits

        limits: AbstractContextManager[Any] = threadpool_limits(self._threads)
        return limits

    def _seed(self, estimator: Any, seed_of: Callable[[str], int]) -> None:
        """Set every `random_state` that the template leaves open."""
        for name, value in sorted(self._template.get_params().items()):
            # Inside a pipeline or an ensemble it is `step__random_state`.
            if value is None and name.rpartition("__")[2] == "random_state":
                estimator.set_params(**{name: seed_of(name) % 2**31})

    def _training_loss(
        self, features: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]
    ) -> float:
        """Log loss or mean squared error on the labels."""
        if self.task is Task.REGRESSION:
            return float(np.mean((self._fitted.predict(features) - targets) ** 2))
        proba = self._proba(features)[np.arange(len(targets)), targets]
        return float(-np.mean(np.log(np.clip(proba, 1e-12, 1.0))))

    def _estimator(self) -> Any:
        if self._fitted is None:
            raise LearnerError(
                "a scikit-learn estimator predicts only after it was fitted: set "
                "driver.skip_training to false"
            )
        return self._fitted

    def _proba(self, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Probabilities over all classes, also those without a label so far."""
        estimator = self._estimator()
        found = np.zeros((len(features), self.classes or 0))
        known = estimator.classes_.astype(np.int64)
        if len(known) == 1:  # histogram boosting then has two columns of one class
            found[:, known] = 1.0
        elif len(features):  # scikit-learn refuses none
            found[:, known] = estimator.predict_proba(features)
        return found

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`.

        Raises:
            LearnerError: the learner predicts numbers, or was never fitted.
        """
        refuse_numbers(self.task)
        with self._limited():
            return torch.from_numpy(self._proba(flat(features)))

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, or numbers `(n,)` or `(n, d)`."""
        if self.task is Task.CLASSIFICATION:
            return self.predict_proba(features).argmax(1)
        return self._of_rows(features, lambda given: self._estimator().predict(given))

    @property
    def fitted(self) -> bool:
        """Whether it can be asked yet: what `views` names is there after the first training."""
        return self._fitted is not None

    @property
    def views(self) -> frozenset[View]:
        """Embeddings, of the estimators that have them."""
        return frozenset({View.EMBEDDINGS} if has_embeddings(self._template) else ())

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The embeddings `(n, d)`, as often as they are asked for."""
        found = self._of_rows(features, lambda given: embeddings(self._estimator(), given))
        return (found,) * len(views)

    def _of_rows(
        self, features: torch.Tensor, say: Callable[[np.ndarray[Any, Any]], Any], *, rows: int = 0
    ) -> torch.Tensor:
        """What `say` finds, also of no rows, which scikit-learn refuses; of one it knows the shape.

        Args:
            features: `(n, ...)`.
            say: `(n, d)` -> an array whose dimension `rows` counts rows.
            rows: which that is.
        """
        given = flat(features)
        with self._limited():
            found = np.asarray(say(given if len(given) else np.zeros((1, given.shape[1]))))
        tensor = torch.from_numpy(found)
        return tensor if len(given) else tensor.narrow(rows, 0, 0)

    def state_files(self) -> dict[str, bytes]:
        """The fitted estimator in skops' format, which holds no code.

        Raises:
            LearnerError: it holds types that `load_state_files` would refuse.
        """
        import skops.io

        if self._fitted is None:
            return {}
        if self._stored is not None:
            return {STATE: self._stored}
        content = _normalized(skops.io.dumps(self._fitted))
        if foreign := _foreign(content):
            raise LearnerError(
                f"a stored {type(self._fitted).__name__} holds only types of scikit-learn that are "
                f"known to be safe, not {', '.join(foreign)}: give the estimator's class fit, "
                "state_files and load_state_files"
            )
        return {STATE: content}

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`; only the types in `trusted_types` are loaded.

        Raises:
            LearnerError: the file names other types, or is none of skops.
        """
        import skops.io

        if STATE not in files:
            self.reset()
            return
        content = files[STATE]
        try:
            foreign = _foreign(content)
            if not foreign:
                self._fitted = skops.io.loads(content, trusted=sorted(TRUSTED))
                self._stored = content
        except Exception as error:  # zip, JSON and skops have errors of their own
            raise LearnerError(
                f"{STATE} is no estimator that skops can read, "
                f"{' '.join(f'{type(error).__name__}: {error}'.split())}: restore the checkpoint"
            ) from error
        if foreign:
            raise LearnerError(f"a checkpoint may not bring types of its own: {', '.join(foreign)}")

    def reset(self) -> None:
        """Back to never fitted."""
        self._fitted = self._stored = None


def _foreign(content: bytes) -> list[str]:
    """The types that a stored estimator names and nobody trusts."""
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=content)) - TRUSTED)


def flat(features: torch.Tensor) -> np.ndarray[Any, Any]:
    """Features `(n, ...)` as an array `(n, d)`."""
    return np.asarray(features.reshape(len(features), math.prod(features.shape[1:])).numpy())


def _normalized(content: bytes) -> bytes:
    """The same file without time stamps and addresses: equal estimators give equal bytes."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    schema = json.loads(source.read(_SCHEMA))
    files: dict[str, str] = {}
    _renumber(schema, {}, files)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:

        def put(name: str, part: bytes) -> None:
            out.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), part)

        for old, new in files.items():
            put(new, source.read(old))
        put(_SCHEMA, json.dumps(schema).encode())
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], files: dict[str, str]) -> None:
    """Number objects and files in the order they appear; skops names them by their address."""
    if isinstance(node, list):
        for part in node:
            _renumber(part, ids, files)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = ids.setdefault(node["__id__"], len(ids))
        if "__loader__" in node and isinstance(node.get("file"), str):
            suffix = node["file"].partition(".")[2]
            node["file"] = files.setdefault(node["file"], f"{len(files)}.{suffix}")
        for part in node.values():
            _renumber(part, ids, files)
