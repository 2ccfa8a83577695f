from __future__ import annotations

from typing import Any

import pytest

from querist.strategies.query import Margin, VoteEntropy
from querist.votes import all_vote_alone, one_wants_committee

ANY = VoteEntropy()
OTHERS = VoteEntropy(committee="learners")
OWN = VoteEntropy(committee="models")


@pytest.mark.parametrize(
    ("strategies", "wants", "alone"),
    [
        ([], False, True),
        ([Margin()], False, True),
        ([OWN], False, True),
        ([Margin(), ANY], True, True),
        ([OTHERS, Margin()], True, False),
        ([ANY, OTHERS], True, False),
    ],
)
def test_who_asks_for_votes_and_does_without_others(
    strategies: list[Any], wants: bool, alone: bool
) -> None:
    assert one_wants_committee(strategies) is wants
    assert all_vote_alone(strategies) is alone
