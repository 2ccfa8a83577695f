from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.query.margin import Margin
from querist.strategies.query.mixture import Mixture, by_largest_remainder
from querist.testing import QueryStrategyContract, query_context
from tests.shared.strategies import ascending, descending


class TestContract(QueryStrategyContract):
    def make(self) -> Mixture:
        return Mixture([{"name": "margin", "share": 0.7}, {"name": "random", "share": 0.3}])


def calls(function: Any, **beside: Any) -> dict[str, Any]:
    return {"name": "callable", "options": {"function": function}, **beside}


@settings(deadline=None, max_examples=100)
@given(n=st.integers(0, 1000), shares=st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_shares_are_met_within_one(n: int, shares: list[float]) -> None:
    numbers = by_largest_remainder(n, shares)
    assert sum(numbers) == n
    for number, share in zip(numbers, shares, strict=True):
        assert abs(number - n * share / math.fsum(shares)) < 1 + 1e-9


def test_the_largest_remainders_get_one_more_the_first_of_equal_ones() -> None:
    assert by_largest_remainder(10, [0.55, 0.27, 0.18]) == [5, 3, 2]
    assert by_largest_remainder(3, [1, 1]) == [2, 1]
    assert by_largest_remainder(1, [1, 1, 1]) == [1, 0, 0]


def test_later_parts_choose_from_what_is_left() -> None:
    mixture = Mixture([calls(ascending, share=1), calls(ascending, share=1), calls(descending)])
    found = mixture.sample(query_context(labeled=()), 6)
    assert found.indices == (0, 1, 2, 3, 39, 38)
    assert found.scores == (6.0, 5.0, 4.0, 3.0, 2.0, 1.0)


def test_what_a_part_leaves_goes_to_the_next() -> None:
    def shy(context: Any, n: int) -> list[int]:
        return ascending(context, 1)

    found = Mixture([calls(shy), calls(descending)]).sample(query_context(labeled=()), 6)
    assert found.indices == (0, 39, 38, 37, 36, 35)


def test_one_part_is_the_strategy_itself() -> None:
    context = query_context()
    assert Mixture(["margin"]).sample(context, 5).indices == Margin().sample(context, 5).indices


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0, "share of a part of mixture is more than 0, not 0"),
        (-1, "finite number of at least 0, not -1"),
        (math.nan, "finite number of at least 0, not nan"),
        ("half", "finite number of at least 0, not 'half'"),
    ],
)
def test_shares_are_checked(share: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Mixture([{"name": "margin", "share": share}])
