"""Deep ensembles: the same model several times, from different first weights.

Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles, 2017, arXiv:1612.01474. Members differ by their first weights and, where there is
dropout, by its masks. Trained in one pass they see the samples in one order, since a batch is read
once for all of them; with `bootstrap` each has a sample of its own. Trained one after the other,
each has an order of its own as well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from querist.config.component import Component
from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, LearnerError
from querist.learners.bootstrap import bootstrap_counts
from querist.learners.build import LearnerContext, as_learner
from querist.learners.member import named_member
from querist.learners.one_by_one import OneByOne, is_of_members
from querist.learners.passes import in_chunks
from querist.learners.samples import decided, refuse_numbers, without_single_column
from querist.learners.stacked import ELEMENTWISE, StackedMembers, why_not_stacked, with_counts
from querist.learners.stacked_embeddings import StackedEmbeddings
from querist.learners.torch_learner import TorchLearner
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner
from querist.randomness import SETUP, derive_seed
from querist.registry import register
from querist.training.batches import to_device
from querist.training.job import TrainingJob, TrainingReport
from querist.training.threads import torch_threads
from querist.views import View

MOST = 1000
_log = logging.getLogger(__name__)


@register("learner", "ensemble")
class Ensemble:
    """The same model n times from different first weights; the mean of what they predict.

    Torch modules are trained in one batched pass where torch.func can do that. Where it cannot
    (batch normalization, a `training_step` of their own, data-dependent control flow...) and for
    scikit-learn, one after the other; the log says why.

    Args:
        member: the model, `{name: ..., options: {...}}`.
        n: how many members, 2 to 1000.
        bootstrap: each member learns from a bootstrap sample of the labels, drawn within each class
            anew in every iteration. Estimators without randomness need it to differ.
    """

    def __init__(
        self, member: str | Mapping[str, Any], n: int = 5, bootstrap: bool = False
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or not 2 <= n <= MOST:
            raise ConfigurationError(f"an ensemble has 2 to {MOST} members, not {n!r}: change n")
        if not isinstance(bootstrap, bool):
            raise ConfigurationError(f"bootstrap is true or false, not {bootstrap!r}")
        self._member = named_member("ensemble", member)
        self._n = n
        self._bootstrap = bootstrap

    def make_learner(self, context: LearnerContext) -> Learner:
        """The members as one learner, with their first weights."""
        seeds = _seeds(context.seed, self._n)
        models = [context.model(self._member, seed) for seed in seeds]
        reason: str | None = "they are no torch modules"
        if all(isinstance(model, torch.nn.Module) for model in models):
            reason = _why_not_by_settings(context.settings.training) or self._why_not(
                models, context
            )
        if reason is None:
            return StackedEnsemble(self._member, models, context, bootstrap=self._bootstrap)
        return OneByOne(
            self._learners(models, seeds, context), reason=reason, bootstrap=self._bootstrap
        )

    def _why_not(self, models: Sequence[torch.nn.Module], context: LearnerContext) -> str | None:
        if context.sample is None:
            return "only their own steps know what a sample is"
        first = context.learner(models[0], seed=context.seed)
        assert isinstance(first, TorchLearner)
        return why_not_stacked(models, context.sample, device=first.device, dtype=first.dtype)

    def _learners(
        self, models: Sequence[Any], seeds: Sequence[int], context: LearnerContext
    ) -> list[Learner]:
        learners = []
        for model, seed in zip(models, seeds, strict=True):
            if hasattr(model, "work_in"):
                raise LearnerError(
                    f"members of an ensemble are models, and {self._member.name!r} is made of "
                    "programs, which would share one work folder: name another member"
                )
            learners.append(
                context.learner(
                    model, seed=seed, remake=lambda seed: context.model(self._member, seed)
                )
            )
        return learners


def _seeds(seed: int, n: int) -> list[int]:
    return [derive_seed(seed, SETUP, "setup", f"member {k}") for k in range(n)]


def _why_not_by_settings(training: TrainingConfig) -> str | None:
    """Why settings of training cannot be had in one batched pass; None where they can."""
    for name in ("train_step_fn", "validate_step_fn"):
        if getattr(training, name) is not None:
            return f"training.{name} takes one model"
    if training.clip_grad_norm is not None:
        return "training.clip_grad_norm would be of the gradients of all members"
    if training.optimizer.name.lower() not in ELEMENTWISE:
        return f"the optimizer {training.optimizer.name} would mix the weights of all members"
    return None


class StackedEnsemble:
    """Members in one module, which the training loop trains in one pass.

    All settings of training hold for all members at once: early stopping looks at the mean
    validation loss, a scaler of fp16 leaves a step out for all of them.

    Args:
        member: what the members are made by, for fresh weights.
        models: the members, modules of one architecture.
        context: what they learn.
        bootstrap: each learns from a bootstrap sample of its own.
    """

    def __init__(
        self,
        member: Component,
        models: Sequence[torch.nn.Module],
        context: LearnerContext,
        *,
        bootstrap: bool,
    ) -> None:
        first = context.learner(models[0], seed=context.seed)
        assert isinstance(first, TorchLearner)
        loss, task = first.loss, first.task

        def stack(members: Sequence[torch.nn.Module]) -> StackedMembers:
            return StackedMembers(members, loss=loss, task=task, bootstrap=bootstrap)

        def remake(seed: int) -> StackedMembers:
            return stack([context.model(member, own) for own in _seeds(seed, len(models))])

        whole = as_learner(
            stack(models).to(first.device, first.dtype),
            context.settings,
            classes=context.classes,
            sample=context.sample,
            remake=remake,
        )
        assert isinstance(whole, TorchLearner)
        self._whole = whole
        self._bootstrap = bootstrap
        self.task = whole.task
        self.classes = context.classes
        self.device = whole.device
        self.dtype = whole.dtype
        assert context.sample is not None, "members that cannot be tried are not stacked"
        self._embeddings = self._look_inside(context.sample)

    @property
    def module(self) -> StackedMembers:
        """The members, stacked."""
        assert isinstance(self._whole.module, StackedMembers)
        return self._whole.module

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train all members in one pass.

        Raises:
            LearnerError: a schedule has set what would mix the members.
        """
        reason = _why_not_by_settings(job.settings)
        if reason is not None:
            raise LearnerError(
                f"the ensemble is trained in one pass, and in iteration {job.iteration} {reason}: "
                "set that for all iterations, so that members are trained one after the other"
            )
        if self._bootstrap:
            counts = bootstrap_counts(labeled.targets, self.task, self.module.number, job)
            labeled = replace(labeled, targets=with_counts(labeled.targets, counts))
        return self._whole.fit(labeled, job)

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """The mean of the members' class probabilities `(n, c)`."""
        return self._whole.predict_proba(features)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, or the mean of the members' numbers `(n,)` or `(n, d)`."""
        return self._whole.predict(features)

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each member `(k, n, c)`.

        Raises:
            LearnerError: the ensemble predicts numbers.
        """
        refuse_numbers(self.task)
        return in_chunks(self._whole, features, self.module.probabilities, rows=1)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(k, n)`, labels `(k, n, c)`, or numbers, of each member."""
        if self.task.has_probabilities:
            return decided(self.predict_proba_samples(features), self.task)
        found = in_chunks(self._whole, features, self.module.outputs, rows=1).float()
        return without_single_column(found)

    @property
    def views(self) -> frozenset[View]:
        """Embeddings, where the members let look into them."""
        return frozenset() if self._embeddings is None else frozenset({View.EMBEDDINGS})

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The members' embeddings side by side `(n, k d)`."""
        assert self._embeddings is not None
        return (in_chunks(self._whole, features, self._embeddings),) * len(views)

    def _look_inside(self, sample: torch.Tensor) -> StackedEmbeddings | None:
        there = to_device(sample, self.device, self.dtype)
        try:
            with torch_threads(self._whole.threads):
                return StackedEmbeddings(self.module, there)
        except LearnerError:
            return None

    def state_files(self) -> dict[str, bytes]:
        """The stacked weights, and the optimizer's state beside them."""
        return self._whole.state_files()

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`.

        Raises:
            LearnerError: they are of members that were trained one after the other.
        """
        if is_of_members(files):
            raise LearnerError(
                "the checkpoint is of members that were trained one after the other, which "
                "here are trained in one pass: restore it with the settings and the torch version "
                "that it was made with"
            )
        self._whole.load_state_files(files)

    def reset(self) -> None:
        """Back to the first weights, with no optimizer state."""
        self._whole.reset()
