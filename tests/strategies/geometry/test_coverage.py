from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.geometry import coverage as module
from querist.strategies.geometry.coverage import Coverage, LazyMaximum, most_covering
from querist.strategies.geometry.points import Points


def greedy(kernels: Any, covered: Any, n: int) -> list[int]:
    """Every candidate looked at for every pick: candidates by references `(n, m)`."""
    picks: list[int] = []
    for _ in range(n):
        gains = np.maximum(kernels - covered, 0).sum(1)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, kernels[picks[-1]])
    return picks


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(2, 60),
    hot=st.sampled_from([3, 1000]),
    block=st.sampled_from([7, 1000]),
    again=st.sampled_from([1, 5]),
    labeled=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_plain_greedy(
    n: int, hot: int, block: int, again: int, labeled: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    points = Points(torch.randn(n, 3, generator=draw, dtype=torch.float64))
    x = points.take(torch.arange(n))
    covering = torch.rand(labeled, 3, generator=draw) if labeled else None

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOT": hot, "REFERENCES": block, "ROWS": block, "AGAIN": again}.items():
            patch.setattr(module, name, value)
        coverage = Coverage(x[::2], 8**-0.5, torch.Tensor.exp_, covering)
        picks = most_covering(points, coverage, 6, draw)
    rows = x.double().numpy()

    def kernels(a: Any, b: Any) -> Any:
        return np.exp(-8 * ((a[:, None] - b[None]) ** 2).sum(2))

    before = np.zeros(len(rows[::2]))
    if covering is not None:
        before = kernels(covering.double().numpy(), rows[::2]).max(0)
    # Two candidates may be closer than float32 can tell: the gains have to agree, not the picks.
    table, covered, slow = kernels(rows, rows[::2]), before, before
    for mine, plain in zip(picks.tolist(), greedy(table, before, min(6, n)), strict=True):
        covered, slow = np.maximum(covered, table[mine]), np.maximum(slow, table[plain])
        assert covered.sum() == pytest.approx(slow.sum(), rel=1e-4, abs=1e-4)
    assert len(set(picks.tolist())) == min(6, n)


def test_the_rest_is_drawn_when_all_is_covered() -> None:
    points = Points(torch.zeros(30, 2))

    def kernel(negative: torch.Tensor) -> torch.Tensor:
        return negative.ge(-1).float()

    drawn = []
    for seed in (0, 0, 1):
        coverage = Coverage(points.take(torch.arange(30)), 0.3, kernel)
        picks = most_covering(points, coverage, 10, torch.Generator().manual_seed(seed))
        assert picks[0] == 0
        assert len(picks.unique()) == 10
        drawn.append(picks.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@settings(deadline=None, max_examples=30)
@given(
    hot=st.sampled_from([2, 50]),
    numbers=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    seed=st.integers(0, 100),
)
def test_the_lazy_maximum_is_the_maximum(hot: int, numbers: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    now = np.array(numbers, dtype=np.float32)
    looked_at: list[int] = []

    def again(at: Any) -> torch.Tensor:
        looked_at.extend(at.tolist())
        return torch.from_numpy(now[at])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HOT", hot)
        lazy = LazyMaximum(now.copy(), again)
        for _ in numbers:
            position, value = lazy.best()
            assert value == now.max() == now[position]
            lazy.remove(position)
            now = now - draw.integers(0, 3, len(now)).astype(np.float32)
            now[position] = -np.inf


def test_few_candidates_are_looked_at_again() -> None:
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    points = Points(x)

    class Counting(Coverage):
        rows = 0

        def gains(self, x: torch.Tensor) -> torch.Tensor:
            self.rows += len(x)
            return super().gains(x)

    coverage = Counting(points.take(torch.arange(2000)), 30**-0.5, torch.Tensor.exp_)
    most_covering(points, coverage, 50, torch.Generator())
    assert coverage.rows < 2000 * 6


def test_points_that_are_alike_cover_each_other_once_at_any_width() -> None:
    rows = torch.randn(12, 50, generator=torch.Generator().manual_seed(0)).repeat(50, 1)
    points = Points(rows)
    x = points.take(torch.arange(600))
    for width in (0.0, 1e-6, 1e-3):
        coverage = Coverage(x, width, torch.Tensor.exp_)
        gains = coverage.gains(x)
        assert bool(torch.isfinite(gains).all())
        assert float(gains.max()) <= 50
        picks = most_covering(points, coverage, 60, torch.Generator().manual_seed(0)).tolist()
        assert len(set(picks)) == 60
        assert {pick % 12 for pick in picks[:12]} == set(range(12))
