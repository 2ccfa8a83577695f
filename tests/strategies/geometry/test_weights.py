from __future__ import annotations

import torch

from querist.strategies.geometry.weights import BLOCK, Weights


def test_draws_are_in_proportion() -> None:
    values = torch.zeros(3 * BLOCK + 5)
    values[[3, BLOCK, 3 * BLOCK + 4]] = torch.tensor([1.0, 2.0, 5.0])
    at, weights = Weights(values).propose(80_000, torch.Generator().manual_seed(0))
    counts = at.bincount(minlength=len(values))
    assert int(counts[values == 0].sum()) == 0
    shares = counts[values > 0] / 10_000
    torch.testing.assert_close(shares, torch.tensor([1.0, 2.0, 5.0]), rtol=0.05, atol=0)
    assert torch.equal(weights, values[at])


def test_changed_weights_count() -> None:
    weights = Weights(torch.ones(1000))
    weights.put(torch.arange(999), torch.zeros(999))
    at, _ = weights.propose(50, torch.Generator().manual_seed(0))
    assert at.tolist() == [999] * 50
    weights.lower(torch.full((1000,), 0.5))
    assert weights.total == 0.5
