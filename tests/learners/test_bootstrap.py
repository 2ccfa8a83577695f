from __future__ import annotations

from typing import Any

import torch

from querist.learners.bootstrap import bootstrap_counts
from querist.values import Task

CLASSES = torch.tensor([0] * 30 + [1] * 9 + [2])


def test_each_class_keeps_its_number_of_labels(job: Any) -> None:
    counts = bootstrap_counts(CLASSES, Task.CLASSIFICATION, 4, job())
    assert counts.shape == (4, 40)
    assert counts[:, :30].sum(1).tolist() == [30] * 4
    assert counts[:, 30:39].sum(1).tolist() == [9] * 4
    assert counts[:, 39].tolist() == [1] * 4
    assert (counts == 0).any()
    assert len({tuple(row) for row in counts.tolist()}) == 4


def test_numbers_are_drawn_from_all(job: Any) -> None:
    counts = bootstrap_counts(torch.rand(40), Task.REGRESSION, 200, job())
    assert counts.sum(1).tolist() == [40] * 200
    # A row is left out with (1 - 1/40)^40 = 0.363.
    assert abs(float((counts == 0).double().mean()) - 0.363) < 0.02


def test_samples_depend_on_seed_and_iteration(job: Any) -> None:
    def drawn(**more: Any) -> torch.Tensor:
        return bootstrap_counts(CLASSES, Task.CLASSIFICATION, 2, job(**more))

    assert torch.equal(drawn(), drawn())
    assert not torch.equal(drawn(), drawn(iteration=1))
    assert not torch.equal(drawn(), drawn(seed=9))
