from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import cohen_kappa_score, f1_score

from querist.context import MetrologyContext, StopSet
from querist.errors import ConfigurationError, StrategyError
from querist.strategies.metrology.stability import Stability
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> Stability:
        return Stability()


class TestContractOfMoreClasses(TestContract):
    classes = 4


def context(now: torch.Tensor, before: torch.Tensor | None) -> MetrologyContext:
    nothing = torch.empty(0)
    stop_set = StopSet(now, before)
    return MetrologyContext(
        Task.CLASSIFICATION, now.shape[1], nothing, nothing, None, 3, 1, stop_set
    )


def measure(now: Any, before: Any, classes: int = 2, **options: int) -> Mapping[str, float]:
    """Of models that are sure of their classes."""
    sure = torch.eye(classes)
    asked = context(sure[torch.as_tensor(now)], sure[torch.as_tensor(before)])
    return Stability(**options).compute(asked).values


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), classes=st.integers(2, 5))
def test_agrees_with_scikit_learn_and_scipy(seed: int, rows: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    now, before = random.dirichlet(np.ones(classes), size=(2, rows))
    asked = context(torch.as_tensor(now), torch.as_tensor(before))
    found = Stability().compute(asked).values
    new, old = now.argmax(1), before.argmax(1)
    assert found["classification_change"] == pytest.approx(np.mean(new != old))
    uncertainty = entropy(now, axis=1).mean() / math.log(classes)
    assert found["overall_uncertainty"] == pytest.approx(uncertainty)
    if len({*new, *old}) > 1:
        assert found["kappa"] == pytest.approx(cohen_kappa_score(new, old), abs=1e-12)
    else:
        assert math.isnan(found["kappa"])
    if classes > 2 or 1 in {*new, *old}:
        of = {"average": "binary"} if classes == 2 else {"average": "macro"}
        predicted = 1 - f1_score(old, new, **of)
        assert found["delta_f"] == pytest.approx(predicted, abs=1e-12)


def test_by_hand() -> None:
    """a = 2 both positive, b + c = 2: 1 - 2a / (2a + b + c) = 1/3."""
    found = measure([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0])
    assert found["delta_f"] == pytest.approx(1 / 3)
    assert found["classification_change"] == pytest.approx(1 / 3)
    assert found["kappa"] == pytest.approx(1 / 3)
    assert found["overall_uncertainty"] == 0.0
    other = measure([1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0], positive=0)
    assert other["delta_f"] == pytest.approx(1 - 6 / 8)


def test_shares_are_as_they_are_written() -> None:
    assert 1 - 0.7 > 0.3, "in floats"
    assert measure([0] * 10, [0] * 7 + [1] * 3)["classification_change"] == 0.3


def test_the_same_predictions_are_stable() -> None:
    found = measure([0, 1, 2], [0, 1, 2], classes=3)
    assert (found["kappa"], found["classification_change"], found["delta_f"]) == (1.0, 0.0, 0.0)


def test_what_is_undefined_is_nan() -> None:
    negative = measure([0, 0], [0, 0])
    assert math.isnan(negative["kappa"])
    assert math.isnan(negative["delta_f"])
    assert negative["classification_change"] == 0.0


def test_the_first_iteration_has_only_its_uncertainty() -> None:
    values = Stability().compute(context(torch.full((3, 2), 0.5), None)).values
    assert values["overall_uncertainty"] == 1.0
    assert all(math.isnan(v) for k, v in values.items() if k != "overall_uncertainty")


def test_probabilities_that_are_nan_give_nan() -> None:
    broken = torch.full((3, 2), math.nan)
    values = Stability().compute(context(broken, torch.eye(2)[[0, 1, 1]])).values
    assert all(map(math.isnan, values.values()))
    values = Stability().compute(context(torch.eye(2)[[0, 1, 1]], broken)).values
    assert math.isnan(values["kappa"])
    assert values["overall_uncertainty"] == 0.0


def test_it_looks_at_its_own_share_of_the_stop_set() -> None:
    assert measure([0, 1, 1, 1], [0, 1, 0, 0], size=2)["classification_change"] == 0.0


def test_what_it_cannot_measure_is_refused() -> None:
    asked = context(torch.eye(2), None)
    with pytest.raises(StrategyError, match="classification, and this learner's task is regress"):
        Stability().compute(replace(asked, task=Task.REGRESSION))
    with pytest.raises(StrategyError, match="at least one sample in the stop set"):
        Stability().compute(replace(asked, stop_set=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is a whole number of at least 1, not 0"),
        ({"positive": 2}, "positive is one of two classes, 0 or 1, not 2"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Stability(**options)
