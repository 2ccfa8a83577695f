from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import MetrologyContext
from querist.errors import ConfigurationError
from querist.strategies.metrology.calibration_error import CalibrationError
from querist.testing import MetrologyStrategyContract
from querist.values import Task


class TestContract(MetrologyStrategyContract):
    tasks = (Task.CLASSIFICATION,)

    def make(self) -> CalibrationError:
        return CalibrationError()


class TestContractOfMoreClasses(TestContract):
    classes = 4


def measure(targets: Any, probabilities: Any, **options: int) -> float:
    probabilities = torch.as_tensor(probabilities, dtype=torch.float64)
    context = MetrologyContext(
        Task.CLASSIFICATION,
        probabilities.shape[1],
        torch.as_tensor(targets),
        probabilities.argmax(1),
        probabilities,
        3,
        0,
    )
    return CalibrationError(**options).compute(context).values["calibration_error"]


@pytest.mark.parametrize(
    ("targets", "probabilities", "expected"),
    [
        ([0, 1], [[1.0, 0.0], [0.0, 1.0]], 0.0),
        ([1, 0], [[1.0, 0.0], [0.0, 1.0]], 1.0),
        ([0, 0, 0, 1], [[0.75, 0.25]] * 4, 0.0),  # three of four, as it says
        ([0, 0, 1, 1], [[0.75, 0.25]] * 4, 0.25),
        ([0, 1], [[0.75, 0.25], [0.74, 0.26]], 0.245),  # one bin: |1 - 0.75 + 0 - 0.74| / 2
        ([0, 1], [[0.75, 0.25], [0.5, 0.5]], 0.375),  # two bins
    ],
)
def test_by_hand(targets: Any, probabilities: Any, expected: float) -> None:
    assert measure(targets, probabilities) == pytest.approx(expected)


def test_a_bin_holds_its_upper_edge() -> None:
    """At ten bins 0.6 is in the sixth, (0.5, 0.6], with 0.55 and not with 0.65."""
    together = measure([0, 1], [[0.6, 0.4], [0.55, 0.45]], bins=10)
    assert together == pytest.approx(abs(1 - 0.6 - 0.55) / 2)
    assert measure([0, 1], [[0.6, 0.4], [0.65, 0.35]], bins=10) == pytest.approx(1.05 / 2)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60), bins=st.integers(1, 20))
def test_as_the_plain_reference(seed: int, rows: int, bins: int) -> None:
    source = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(rows, 3, generator=source).double().softmax(1)
    targets = torch.randint(3, (rows,), generator=source)
    total = 0.0
    for number in range(bins):
        held = [
            (float(p.max()), int(p.argmax()) == int(t))
            for p, t in zip(probabilities, targets, strict=True)
            if number / bins < float(p.max()) <= (number + 1) / bins
        ]
        if held:
            confidence = sum(c for c, _ in held) / len(held)
            total += abs(sum(r for _, r in held) / len(held) - confidence) * len(held) / rows
    assert measure(targets, probabilities, bins=bins) == pytest.approx(total, abs=1e-9)


def test_probabilities_that_are_nan_give_nan() -> None:
    assert math.isnan(measure([0, 1], [[math.nan, math.nan], [0.5, 0.5]]))


def test_bins_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="bins is a whole number of at least 1, not 0"):
        CalibrationError(0)
