from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.drawing import at_most, distinct_positions, in_turn


@settings(deadline=None)
@given(size=st.integers(0, 3000), share=st.floats(0, 1), seed=st.integers(0, 2**62))
def test_positions_are_different_and_in_range(size: int, share: float, seed: int) -> None:
    n = int(size * share)
    drawn = distinct_positions(size, n, torch.Generator().manual_seed(seed))
    assert drawn.shape == (n,)
    assert len(drawn.unique()) == n
    assert n == 0 or (int(drawn.min()) >= 0 and int(drawn.max()) < size)


@pytest.mark.parametrize("n", [2, 10], ids=["drawn one by one", "shuffled"])
def test_every_sample_is_as_likely_in_every_place(n: int) -> None:
    size, rounds = 20, 4000
    counts = torch.zeros(n, size)
    generator = torch.Generator().manual_seed(1)
    for _ in range(rounds):
        counts[torch.arange(n), distinct_positions(size, n, generator)] += 1
    expected = rounds / size
    chi_square = ((counts - expected) ** 2 / expected).sum(1)
    # 99.99 % quantile of chi-square with 19 degrees of freedom; the seed is fixed.
    assert float(chi_square.max()) < 50.8


def test_at_most_so_many_are_drawn_and_ascend() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    for most in (5, 9):
        assert at_most(5, most, generator).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(generator.get_state(), before), "nothing is drawn where all are taken"
    some = at_most(1000, 20, generator)
    assert len(some.unique()) == 20
    assert torch.equal(some, some.sort().values)


def test_queues_are_taken_from_in_turn() -> None:
    queues = [[1, 4, 6], [2], [3, 5]]
    assert in_turn(queues, 6) == [1, 2, 3, 4, 5, 6]
    assert in_turn(queues, 2) == [1, 2]
    assert in_turn([], 0) == []
