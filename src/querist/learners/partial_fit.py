"""A learner around scikit-learn estimators that learn batch by batch, from where they are."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from querist.errors import ConfigurationError, LearnerError
from querist.learners.build import LearnerContext
from querist.learners.sklearn_learner import STATE, SklearnLearner, flat, sklearn
from querist.pools.labeled import LabeledSet
from querist.randomness import derive_seed
from querist.registry import register
from querist.training.batches import Order
from querist.training.early_stopping import is_best
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.threads import choose_threads

_BEST = "best.skops"
_PROGRESS = "progress.json"


@register("learner", "partial_fit")
class PartialFit:
    """A scikit-learn estimator that goes on from the last iteration, by its `partial_fit`.

    Of `training` apply the epochs, `batch_size`, `last_batch`, `warm_start`, `early_stopping` and
    `checkpoint_epochs`; the learning rate and the like are the estimator's parameters.

    Args:
        estimator: its class name, such as SGDClassifier, MLPClassifier or SGDRegressor.
        parameters: what it is made with.
    """

    def __init__(self, estimator: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._estimator = sklearn(estimator, parameters)
        if not hasattr(self._estimator, "partial_fit"):
            raise ConfigurationError(
                f"{estimator} has no partial_fit (with these parameters): name an estimator that "
                "has it, such as SGDClassifier, MLPClassifier, MultinomialNB or SGDRegressor, or "
                "use the learner sklearn, which fits anew in every iteration"
            )

    def make_learner(self, context: LearnerContext) -> PartialFitLearner:
        """The learner, not fitted yet."""
        threads = choose_threads(context.settings.training.threads, 0)
        return PartialFitLearner(self._estimator, classes=context.classes, threads=threads)


class PartialFitLearner(SklearnLearner):
    """Goes on training an estimator, epoch by epoch over shuffled batches.

    Features are flattened to `(n, d)`. The estimator hears of all classes at its first batch, so
    that one without a label has a column all the same. A `random_state` that is not set gets one
    from the run's seed in every epoch.

    Args:
        estimator: anything with `partial_fit` and `predict`; classifiers need `predict_proba`.
        classes: number of classes; None for regression.
        threads: CPU threads, or None to leave them alone.
    """

    follows = ("last_batch",)

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train on from the last iteration, or from nothing where `warm_start` is `scratch`.

        Raises:
            LearnerError: the estimator refused the labels, or `warm_start` cannot be had.
        """
        from sklearn.base import clone

        if job.settings.warm_start.mode == "shrink_and_perturb" and job.iteration > 0:
            raise LearnerError(
                "warm_start shrink_and_perturb is for torch modules, an estimator's weights are "
                "its own affair: use fine_tune or scratch"
            )
        if job.epochs == 0:
            return TrainingReport(epochs=0, steps=0)
        scratch = job.iteration > 0 and job.settings.warm_start.mode == "scratch"
        if self._fitted is None or scratch:
            self._fitted = clone(self._template)
        features, targets = flat(labeled.features()), labeled.targets.numpy()
        progress = self._begun(job)
        try:
            with self._limited():
                while progress.epoch < job.epochs and not progress.stopped:
                    progress.steps += self._epoch(features, targets, job, progress.epoch)
                    self._after_epoch(features, targets, job, progress)
        except ValueError as error:
            if isinstance(error, LearnerError):
                raise
            raise LearnerError(
                f"{type(self._template).__name__} cannot learn from the {len(labeled)} labels: "
                f"{error}"
            ) from error
        early = job.settings.early_stopping
        if progress.best is not None and early is not None and early.restore_best:
            self._stored = None
            self._fitted, progress.validation_loss = progress.best, progress.best_loss
        return TrainingReport(
            epochs=progress.epoch,
            steps=progress.steps,
            train_loss=progress.train_loss,
            validation_loss=progress.validation_loss,
            stopped_early=progress.stopped,
            samples=progress.epoch * len(labeled),
        )

    def _epoch(
        self,
        features: np.ndarray[Any, Any],
        targets: np.ndarray[Any, Any],
        job: TrainingJob,
        epoch: int,
    ) -> int:
        """One pass over all batches; returns their number."""
        seed = job.epoch_seed(epoch)
        self._seed(self._fitted, lambda name: derive_seed(seed, job.iteration, "train", name))
        known = {} if self.classes is None else {"classes": np.arange(self.classes)}
        steps, self._stored = 0, None
        for rows in _batches(len(features), job, seed):
            self._fitted.partial_fit(features[rows], targets[rows], **known)
            steps += 1
        return steps

    def _after_epoch(
        self,
        features: np.ndarray[Any, Any],
        targets: np.ndarray[Any, Any],
        job: TrainingJob,
        progress: _Progress,
    ) -> None:
        progress.epoch += 1
        progress.train_loss = self._training_loss(features, targets)
        job.check_loss(progress.train_loss, progress.epoch, "or scale the features")
        if job.validation is not None:
            progress.validation_loss = self._training_loss(
                flat(job.validation.features()), job.validation.targets.numpy()
            )
            self._watch(job, progress, progress.validation_loss)
        job.on_epoch(
            EpochReport(progress.epoch, job.epochs, progress.train_loss, progress.validation_loss)
        )
        if job.partial is not None and job.keeps_state(progress.epoch):
            job.partial.save(progress.epoch, self._kept(progress))

    def _watch(self, job: TrainingJob, progress: _Progress, loss: float) -> None:
        early = job.settings.early_stopping
        if early is not None and is_best(progress, loss, early) and early.restore_best:
            progress.best = copy.deepcopy(self._fitted)

    def _begun(self, job: TrainingJob) -> _Progress:
        """Where this training is: at its beginning, or where a killed one left off."""
        found = job.partial.latest() if job.partial is not None else None
        if found is None:
            return _Progress()
        files = found[1]
        progress = _Progress(**json.loads(files[_PROGRESS]))
        if _BEST in files:
            self.load_state_files({STATE: files[_BEST]})
            progress.best = self._fitted
        self.load_state_files(files)
        return progress

    def _kept(self, progress: _Progress) -> dict[str, bytes]:
        files = {**self.state_files(), _PROGRESS: json.dumps(progress.numbers()).encode()}
        if progress.best is not None:
            current, self._fitted = self._fitted, progress.best
            files[_BEST] = self.state_files()[STATE]
            self._fitted = current
        return files


@dataclass
class _Progress:
    """Where a training is: everything that a partial checkpoint must bring back."""

    epoch: int = 0
    steps: int = 0
    train_loss: float = math.nan
    validation_loss: float | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    stopped: bool = False
    best: Any = None

    def numbers(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "best"}


def _batches(n: int, job: TrainingJob, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """Row numbers of the batches of an epoch, in its order."""
    size, last = job.settings.batch_size, job.settings.last_batch
    # Fewer samples than a batch are learned from all the same.
    order = Order(n, size, "keep" if last == "drop" and n < size else last)
    return (rows.numpy() for rows in order.indices(seed).split(size))
