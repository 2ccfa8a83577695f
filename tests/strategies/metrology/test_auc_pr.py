from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from querist.context import MetrologyContext
from querist.errors import ConfigurationError
from querist.strategies.metrology.auc_pr import AucPr
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> AucPr:
        return AucPr()


class TestContractOfMoreClasses(TestContract):
    classes = 4


def measure(targets: Any, probabilities: Any, **options: int) -> float:
    probabilities = torch.as_tensor(probabilities)
    context = MetrologyContext(
        Task.CLASSIFICATION,
        probabilities.shape[1],
        torch.as_tensor(targets),
        probabilities.argmax(1),
        probabilities,
        3,
        0,
    )
    return AucPr(**options).compute(context).values["auc_pr"]


def draw(seed: int, rows: int, classes: int, decimals: int) -> tuple[Any, Any]:
    """Targets and probabilities; few decimals make ties."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), size=rows).round(decimals)
    return random.integers(0, classes, size=rows), probabilities


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    classes=st.integers(2, 5),
    decimals=st.sampled_from([1, 6]),
)
def test_agrees_with_scikit_learn(seed: int, rows: int, classes: int, decimals: int) -> None:
    targets, probabilities = draw(seed, rows, classes, decimals)
    found = measure(targets, probabilities)
    counted = [1] if classes == 2 else range(classes)
    expected = [
        average_precision_score(targets == c, probabilities[:, c]) for c in counted if c in targets
    ]
    if expected:
        assert found == pytest.approx(float(np.mean(expected)), abs=1e-12)
    else:
        assert math.isnan(found)


def test_as_scikit_learn_does_for_binary_targets() -> None:
    targets, probabilities = draw(1, 60, 2, 1)
    for positive in (0, 1):
        expected = average_precision_score(targets, probabilities[:, positive], pos_label=1)
        if positive == 0:
            expected = average_precision_score(1 - targets, probabilities[:, 0])
        found = measure(targets, probabilities, positive=positive)
        assert found == pytest.approx(float(expected), abs=1e-12)


def test_by_hand() -> None:
    scores = torch.tensor([0.1, 0.4, 0.35, 0.8])
    both = torch.stack([1 - scores, scores], 1)
    expected = (1 + 2 / 3) / 2
    assert measure(torch.tensor([0, 0, 1, 1]), both) == pytest.approx(expected, abs=1e-12)


def test_no_positive_sample_is_nan() -> None:
    assert math.isnan(measure([0, 0], [[0.5, 0.5], [0.1, 0.9]]))


def test_a_class_without_a_sample_is_left_out() -> None:
    three = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]]
    assert measure([0, 1], three) == 1.0


def test_probabilities_that_are_nan_give_nan() -> None:
    assert math.isnan(measure([0, 1], [[math.nan, 0.5], [0.5, 0.5]]))


def test_a_positive_class_is_zero_or_one() -> None:
    with pytest.raises(ConfigurationError, match="positive is one of two classes, 0 or 1, not 2"):
        AucPr(positive=2)
