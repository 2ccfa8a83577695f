"""What a learner might say of a pool, made once, and a learner that says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from querist.context import QueryContext
from querist.pools import LabeledSet, TensorPool
from querist.shared_views import SharedViews
from querist.values import Task
from querist.views import View, gradients_at_logits

CLASSES, WIDTH, MODELS, LABELED = 10, 128, 20, 1000
EVERYTHING = 2**50
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Inputs:
    """Answers about `size` candidates and, after them, 1,000 labeled samples.

    Embeddings are ten overlapping clusters after a ReLU, logits are linear in them.

    Attributes:
        size: how many candidates.
    """

    size: int

    @cached_property
    def embeddings(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        total = self.size + LABELED
        centers = torch.randn(CLASSES, WIDTH, generator=generator)
        found = torch.randn(total, WIDTH, generator=generator)
        found += centers[torch.randint(CLASSES, (total,), generator=generator)]
        return found.relu_()

    @cached_property
    def logits(self) -> torch.Tensor:
        weights = torch.randn(WIDTH, CLASSES, generator=torch.Generator().manual_seed(1))
        return self.embeddings @ weights * (3 / WIDTH**0.5)

    @cached_property
    def probabilities(self) -> torch.Tensor:
        return self.logits.softmax(1)

    def of(self, view: View) -> torch.Tensor:
        """The answers that make up a view."""
        if view in (View.EMBEDDINGS, View.FEATURES):
            return self.embeddings
        if view is View.LOGITS:
            return self.logits
        if view is View.GRADIENTS:
            return gradients_at_logits(self.probabilities)
        if view is View.PROBABILITIES:
            return self.probabilities
        if view is View.LABEL_PROBABILITIES:
            return self.logits.sigmoid()
        if view is View.NUMBERS:
            return self.logits[:, :1]
        generator = torch.Generator().manual_seed(2)
        kept = CLASSES if view is View.PROBABILITY_SAMPLES else 1
        found = torch.empty(MODELS, len(self.embeddings), kept)
        for model in found:
            noise = torch.randn(len(model), kept, generator=generator)
            model.copy_(self.logits[:, :kept] + noise)
            if view is View.PROBABILITY_SAMPLES:
                model.copy_(model.softmax(1))
        return found


class Remembers:
    """A learner that looks its answers up; the pool's features are the samples' numbers.

    Args:
        task: what it predicts.
        said: the answers, of all samples.
    """

    def __init__(self, task: Task, said: dict[View, torch.Tensor]) -> None:
        self.task, self.said = task, said

    @property
    def views(self) -> frozenset[View]:
        return frozenset(self.said)

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        at = features[:, 0]
        begin, end = int(at[0]), int(at[-1]) + 1
        if end - begin == len(at):
            return tuple(self.said[v].narrow(v.rows, begin, end - begin) for v in views)
        return tuple(self.said[v].index_select(v.rows, at) for v in views)

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        labels = self.task is Task.MULTILABEL
        view = View.LABEL_PROBABILITIES if labels else View.PROBABILITIES
        return self.look((view,), features)[0]

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        if self.task is Task.REGRESSION:
            return self.look((View.NUMBERS,), features)[0][:, 0]
        return self.predict_proba(features).argmax(1)

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        return self.look((View.PROBABILITY_SAMPLES,), features)[0]

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        return self.look((View.NUMBER_SAMPLES,), features)[0]


def task_of(needs: Sequence[View]) -> Task:
    """What a learner must predict for these views."""
    if {View.NUMBERS, View.NUMBER_SAMPLES} & set(needs):
        return Task.REGRESSION
    return Task.MULTILABEL if View.LABEL_PROBABILITIES in needs else Task.CLASSIFICATION


def context_of(inputs: Inputs, needs: Sequence[View], committee: bool) -> QueryContext:
    """A pool whose views are all there already, so that predictions are not measured."""
    task = task_of(needs)
    views = {*needs, View.FEATURES, View.EMBEDDINGS}
    if task is Task.CLASSIFICATION:
        views |= {View.PROBABILITIES}
    said = {view: inputs.of(view) for view in views}
    learner = Remembers(task, said)
    pool = TensorPool(torch.arange(inputs.size + LABELED)[:, None])
    unlabeled = torch.arange(inputs.size)
    shared = SharedViews(in_memory=EVERYTHING)
    for view, values in said.items():
        shared.keep(view, unlabeled, values.narrow(view.rows, 0, inputs.size))
    labeled = torch.arange(inputs.size, inputs.size + LABELED)
    truth = torch.arange(LABELED) % CLASSES
    targets = truth.float() if task is Task.REGRESSION else truth
    if task is Task.MULTILABEL:
        targets = torch.eye(CLASSES)[truth]
    return QueryContext(
        learner=learner, pool=pool, unlabeled=unlabeled,
        labeled=LabeledSet(pool, labeled, targets),
        generator=torch.Generator().manual_seed(0), device=CPU, chunk_size=65536, iteration=1,
        committee=(learner, learner) if committee else (), shared=shared,
    )  # fmt: skip
