from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.strategies.geometry import neighbours
from querist.strategies.geometry.neighbours import k_nearest


@pytest.mark.parametrize("block", [3, 10, 1000])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_agrees_with_a_full_sort(block: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "OTHERS", block)
    monkeypatch.setattr(neighbours, "QUERIES", 5)
    draw = torch.Generator().manual_seed(0)
    x, queries = torch.randn(40, 3, generator=draw), torch.randn(12, 3, generator=draw)
    squared, at = k_nearest(x, queries, k)
    exact = ((queries.double().numpy()[:, None] - x.double().numpy()[None]) ** 2).sum(2)
    order = np.argsort(exact, axis=1)[:, :k]
    assert np.array_equal(at.numpy(), order)
    np.testing.assert_allclose(squared, np.take_along_axis(exact, order, 1), rtol=1e-4, atol=1e-5)


def test_no_queries() -> None:
    squared, at = k_nearest(torch.randn(4, 2), torch.empty(0, 2), 3)
    assert squared.shape == at.shape == (0, 3)
