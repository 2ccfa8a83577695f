"""Vote entropy over a committee.

Committee-Based Sampling for Training Probabilistic Classifiers, Dagan and Engelson, 1995,
doi:10.1016/B978-1-55860-377-6.50027-X.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.voting import select_by_vote, sum_of
from querist.values import Selection, Task
from querist.views import View


def vote_entropy_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """Entropy of the members' votes in nats: k times `(m, c)` -> `(m,)` in 0 .. log min(k, c).

    A member votes for its most probable class; of equal ones for the first. The paper divides by
    log k, which ranks alike.
    """
    votes = [probabilities.argmax(1) for probabilities in members]
    # Of k members, each sees how many vote as it does; the mean of log(k / that) is the entropy.
    # In ascending order, so that equal votes for other classes are the same number, to the bit.
    agreeing = torch.stack([sum_of(one == other for other in votes) for one in votes])
    surprise = (len(votes) / agreeing.sort(0).values).log()
    return sum_of(surprise) / len(votes)


@register("query", "vote_entropy")
class VoteEntropy:
    """The samples whose class the parallel run's learners vote on with the highest entropy."""

    about = About(
        paper="Dagan and Engelson, Committee-Based Sampling for Training Probabilistic "
        "Classifiers, 1995, doi:10.1016/B978-1-55860-377-6.50027-X",
        needs=(View.PROBABILITIES,),
        cost="t n (c + t)",
    )

    wants_committee = True

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest entropies, in nats; random samples as long as nobody else votes."""
        return select_by_vote(context, n, Task.CLASSIFICATION, vote_entropy_scores)
