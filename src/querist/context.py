"""What a strategy is given: read-only views of the learner, the pool and the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from querist.pools.labeled import LabeledSet
from querist.protocols import Pool, Predictor
from querist.values import Task


@dataclass(frozen=True)
class QueryContext:
    """What a query strategy may look at.

    Attributes:
        learner: predicts; its weights must not be changed.
        pool: the samples.
        unlabeled: indices of the samples that may be asked for `(u,)`, ascending.
        labeled: what the learner was trained on.
        generator: the only source of randomness.
        device: where predictions are computed.
        chunk_size: samples per prediction, so that memory stays bounded.
        iteration: the iteration that asks.
        committee: models of the other learners of the same parallel run, which vote beside
            `learner`; empty where no strategy has `wants_committee`, or none of them is trained.
    """

    learner: Predictor
    pool: Pool
    unlabeled: torch.Tensor
    labeled: LabeledSet
    generator: torch.Generator
    device: torch.device
    chunk_size: int
    iteration: int
    committee: Sequence[Predictor] = ()

    def chunks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Unlabeled indices `(m,)` and their features `(m, ...)`, chunk by chunk."""
        for indices in self.unlabeled.split(self.chunk_size):
            yield indices, self.pool.features(indices)


@dataclass(frozen=True)
class StopSet:
    """Predictions on the stop set: samples of the training pool, the same in every iteration.

    A metrology strategy that has an attribute `stop_set_size` finds as many rows here, or all
    samples that there are; more where another strategy asked for more. The first rows are a random
    draw, too.

    Attributes:
        probabilities: by the model that is measured, `(m, c)`.
        before: by the model of the iteration before, `(m, c)`; None in the first iteration.
    """

    probabilities: torch.Tensor
    before: torch.Tensor | None


@dataclass(frozen=True)
class MetrologyContext:
    """What a metrology strategy may look at: predictions on the held-out test set.

    Attributes:
        task: classification or regression.
        classes: number of classes; None for regression.
        targets: the truth `(m,)` or `(m, d)`.
        predictions: class indices `(m,)`, or numbers shaped like the targets.
        probabilities: `(m, c)`; None for regression.
        labeled: how many labels the learner was trained on.
        iteration: the iteration that is measured.
        stop_set: predictions of this model and the one before; None where no metrology strategy
            asks for them.
    """

    task: Task
    classes: int | None
    targets: torch.Tensor
    predictions: torch.Tensor
    probabilities: torch.Tensor | None
    labeled: int
    iteration: int
    stop_set: StopSet | None = None
