from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

from querist.context import MetrologyContext
from querist.registry import build
from querist.strategies.metrology.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    RSquared,
)
from querist.testing import MetrologyStrategyContract
from querist.values import Task

REFERENCES = {
    "mse": mean_squared_error,
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
    "r2": r2_score,
}


class TestContractOfMse(MetrologyStrategyContract):
    tasks = (Task.REGRESSION,)

    def make(self) -> MeanSquaredError:
        return MeanSquaredError()


class TestContractOfRmse(MetrologyStrategyContract):
    tasks = (Task.REGRESSION,)

    def make(self) -> RootMeanSquaredError:
        return RootMeanSquaredError()


class TestContractOfMae(MetrologyStrategyContract):
    tasks = (Task.REGRESSION,)

    def make(self) -> MeanAbsoluteError:
        return MeanAbsoluteError()


class TestContractOfR2(MetrologyStrategyContract):
    tasks = (Task.REGRESSION,)

    def make(self) -> RSquared:
        return RSquared()


def measure(name: str, targets: Any, predictions: Any) -> float:
    context = MetrologyContext(
        Task.REGRESSION, None, torch.as_tensor(targets), torch.as_tensor(predictions), None, 3, 0
    )
    values = build("metrology", name, {}).compute(context).values
    assert list(values) == [name]
    return float(values[name])


@pytest.mark.parametrize("name", REFERENCES)
@settings(deadline=None)
@given(
    rows=st.integers(2, 30),
    outputs=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 2**32 - 1),
    constant=st.booleans(),
)
def test_agrees_with_scikit_learn(
    name: str, rows: int, outputs: int, seed: int, constant: bool
) -> None:
    random = np.random.default_rng(seed)
    shape = (rows,) if outputs == 0 else (rows, outputs)
    targets, predictions = random.normal(size=(2, *shape))
    if constant:
        targets[..., :1] = 0.5
    expected = REFERENCES[name](targets, predictions)
    assert measure(name, targets, predictions) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_diverged_model_measures_nan(name: str) -> None:
    assert math.isnan(measure(name, [1.0, 2.0], [1.0, math.nan]))
    assert math.isnan(measure(name, [1.0, 1.0], [1.0, math.nan]))


def test_r2_of_constant_targets() -> None:
    """0.1 is not its own mean to the last bit, and must count as constant all the same."""
    constant = [0.1] * 3
    assert measure("r2", constant, constant) == 1.0
    assert measure("r2", constant, [0.1, 0.1, 0.2]) == 0.0


def test_r2_of_a_single_sample_is_nan() -> None:
    assert math.isnan(measure("r2", [1.0], [1.0]))


def test_sums_do_not_lose_single_precision() -> None:
    targets = torch.full((1000,), 4096.0)
    assert measure("mae", targets, targets + 2**-11) == 2**-11
