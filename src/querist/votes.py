"""Which query strategies ask for votes, and whether their learner's own models do."""

from __future__ import annotations

from collections.abc import Iterable

from querist.protocols import QueryStrategy


def one_wants_committee(strategies: Iterable[QueryStrategy]) -> bool:
    """Whether any of the strategies asks for votes."""
    return any(getattr(strategy, "wants_committee", False) for strategy in strategies)


def all_vote_alone(strategies: Iterable[QueryStrategy]) -> bool:
    """Whether those that ask for votes do with the learner's own models."""
    return all(
        getattr(strategy, "votes_alone", False)
        for strategy in strategies
        if one_wants_committee([strategy])
    )
