from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import MetrologyContext
from querist.strategies.gates.ranked import RANKED, ranked_score
from querist.strategies.metrology import AucPr, RocAuc
from querist.values import Task

STRATEGIES: dict[str, Any] = {"auc_pr": AucPr(), "roc_auc": RocAuc()}


@pytest.mark.parametrize("metric", RANKED)
@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 30),
    classes=st.integers(2, 4),
    steps=st.sampled_from([2, 5, 1000]),
)
def test_draws_are_measured_as_metrology_does(
    metric: str, seed: int, size: int, classes: int, steps: int
) -> None:
    """With ties, with classes that a draw does not have, and with repeated samples."""
    source = torch.Generator().manual_seed(seed)
    probabilities = torch.randint(steps, (size, classes), generator=source).double() / steps
    targets = torch.randint(classes, (size,), generator=source)
    found = ranked_score(targets, probabilities, RANKED[metric], None)
    for rows in (torch.arange(size), torch.randint(size, (size,), generator=source)):
        context = MetrologyContext(
            Task.CLASSIFICATION, classes, targets[rows], probabilities[rows].argmax(1),
            probabilities[rows], 0, 0,
        )  # fmt: skip
        expected = STRATEGIES[metric].compute(context).values[metric]
        assert found.of(rows) == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_probabilities_that_are_not_finite_give_nan() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [math.nan, 0.5]])
    found = ranked_score(torch.tensor([0, 1]), probabilities, RANKED["auc_pr"], 1)
    assert math.isnan(found.of(torch.tensor([0, 1])))
