from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.indices import positions, without

SETS = st.sets(st.integers(0, 40))


@settings(deadline=None, max_examples=60)
@given(there=SETS, wanted=st.lists(st.integers(-2, 45)))
def test_positions_are_those_of_a_list(there: set[int], wanted: list[int]) -> None:
    ascending = sorted(there)
    expected = [ascending.index(i) if i in there else -1 for i in wanted]
    found = positions(
        torch.tensor(ascending, dtype=torch.int64), torch.tensor(wanted, dtype=torch.int64)
    )
    assert found.tolist() == expected


@settings(deadline=None, max_examples=60)
@given(there=SETS, removed=st.lists(st.integers(-2, 45)))
def test_what_is_left_is_a_difference_of_sets(there: set[int], removed: list[int]) -> None:
    ascending = torch.tensor(sorted(there), dtype=torch.int64)
    left = without(ascending, torch.tensor(removed, dtype=torch.int64))
    assert left.tolist() == sorted(there - set(removed))
