from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.rows import (
    NARROW,
    by_column,
    entropies,
    highest,
    row_sums,
    two_highest,
)

WIDTHS = [2, 3, 5, 8, 10, 16, 31, NARROW, NARROW + 1, 100]


def numbers(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows * 1000 + columns)
    return torch.rand(rows, columns, generator=generator, dtype=dtype)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 200), columns=st.sampled_from([1, *WIDTHS]))
def test_results_are_those_of_torch(rows: int, columns: int) -> None:
    for dtype in (torch.float32, torch.float64):
        values = numbers(rows, columns, dtype)
        assert torch.equal(by_column(values), values.T)
        assert torch.equal(highest(values), values.amax(1))
        torch.testing.assert_close(row_sums(values), values.sum(1))
        torch.testing.assert_close(entropies(values), torch.special.entr(values).sum(1))
        if columns > 1:
            expected = values.topk(2, 1).values
            assert torch.equal(torch.stack(two_highest(values), 1), expected)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_row_is_worth_the_same_wherever_it_stands(columns: int) -> None:
    values = numbers(1003, columns)
    for function in (row_sums, entropies, highest):
        whole = function(values)
        for begin, end in [(0, 1), (1, 9), (3, 20), (5, 1000), (1000, 1003)]:
            assert torch.equal(function(values[begin:end]), whole[begin:end])


def test_a_zero_beside_a_row_does_not_change_it() -> None:
    values = numbers(64, 10)
    before = entropies(values)
    values[5, 3] = 0
    after = entropies(values)
    assert torch.equal(before[6:], after[6:])
    assert torch.equal(before[:5], after[:5])
    torch.testing.assert_close(after[5], torch.special.entr(values[5]).sum())


def test_columns_are_turned_around_where_products_are_coarse() -> None:
    """A program may allow products in bfloat16; a probability is to stay what it is."""
    values = numbers(500, 10)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(by_column(values), values.T)
        torch.testing.assert_close(row_sums(values), values.sum(1))
    finally:
        torch.set_float32_matmul_precision(before)
