"""Bootstrap samples of the labels, one for each member of an ensemble."""

from __future__ import annotations

import torch

from querist.randomness import generator
from querist.training.job import TrainingJob
from querist.values import Task


def bootstrap_counts(
    targets: torch.Tensor, task: Task, members: int, job: TrainingJob
) -> torch.Tensor:
    """How often the sample of each member holds each label `(k, n)`; each row adds up to n.

    Classes are drawn within themselves, so that each keeps its number of labels and none is lost.
    """
    n = len(targets)
    groups = [torch.arange(n)]
    if task is Task.CLASSIFICATION:
        groups = [torch.nonzero(targets == c)[:, 0] for c in targets.unique()]
    counts = torch.zeros(members, n, dtype=torch.int64)
    for k in range(members):
        drawn = generator(job.seed, job.iteration, "train", f"bootstrap of member {k}")
        for rows in groups:
            chosen = rows[torch.randint(len(rows), (len(rows),), generator=drawn)]
            counts[k] += chosen.bincount(minlength=n)
    return counts
