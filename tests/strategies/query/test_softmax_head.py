from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from querist.strategies.query.softmax_head import SoftmaxHead


def reference(inputs: Any, labels: Any, classes: int, penalty: float) -> Any:
    """Slow: a general minimizer."""

    def lost(flat: Any) -> float:
        weights = flat.reshape(inputs.shape[1], classes)
        logits = inputs @ weights
        highest = logits.max(1, keepdims=True)
        log_sums = highest[:, 0] + np.log(np.exp(logits - highest).sum(1))
        fits = (log_sums - logits[np.arange(len(labels)), labels]).sum()
        return float(fits + penalty / 2 * (weights**2).sum())

    start = np.zeros(inputs.shape[1] * classes)
    found = minimize(lost, start, options={"gtol": 1e-7})
    return found.x.reshape(inputs.shape[1], classes)


def data(seed: int, rows: int, width: int, classes: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, width)), random.integers(0, classes, rows)


@settings(deadline=None, max_examples=10)
@given(
    rows=st.integers(1, 12),
    width=st.integers(1, 3),
    classes=st.integers(1, 4),
    penalty=st.sampled_from([0.3, 1.0, 5.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_fit_agrees_with_a_general_minimizer(
    rows: int, width: int, classes: int, penalty: float, seed: int
) -> None:
    inputs, labels = data(seed, rows, width, classes)
    head = SoftmaxHead(torch.from_numpy(inputs), torch.from_numpy(labels), classes, penalty)
    assert head.weights.shape == (width, classes)
    expected = reference(inputs, labels, classes, penalty)
    np.testing.assert_allclose(head.weights.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("penalty", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_one_more_sample_agrees_with_a_fit_of_all(seed: int, penalty: float) -> None:
    inputs, labels = data(seed, 30, 3, 4)
    new, _ = data(seed + 100, 5, 3, 4)
    head = SoftmaxHead(torch.from_numpy(inputs), torch.from_numpy(labels), 4, penalty)
    weights = head.with_one_more(torch.from_numpy(2 * new))
    assert weights.shape == (5, 4, 3, 4)
    for at in range(5):
        for label in range(4):
            every = torch.from_numpy(np.vstack([inputs, 2 * new[at : at + 1]]))
            said = torch.from_numpy(np.append(labels, label))
            exact = SoftmaxHead(every, said, 4, penalty).weights
            moved = float((exact - head.weights).norm())
            assert float((weights[at, label] - exact).norm()) < 0.05 * moved + 1e-6


def test_without_any_labels_one_sample_is_learned_exactly() -> None:
    nothing = torch.zeros(0, 2, dtype=torch.float64)
    head = SoftmaxHead(nothing, torch.zeros(0, dtype=torch.int64), 3, 0.5)
    assert head.weights.abs().sum() == 0
    one = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    weights = head.with_one_more(one)
    for label in range(3):
        exact = SoftmaxHead(one, torch.tensor([label]), 3, 0.5).weights
        torch.testing.assert_close(weights[0, label], exact, atol=1e-5, rtol=1e-5)
