"""Share of a committee's pairs that vote for different classes.

Query by Committee, Seung, Opper and Sompolinsky, 1992, doi:10.1145/130385.130417; as a measure of
several members: Measures of Diversity in Classifier Ensembles and Their Relationship with the
Ensemble Accuracy, Kuncheva and Whitaker, 2003, doi:10.1023/A:1022859003006.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.stochastic import Batch
from querist.strategies.query.voting import Voters, select_by_vote
from querist.values import Selection, Task
from querist.views import View


def disagreement_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """How many of the k(k - 1)/2 pairs vote differently: k times `(m, c)` -> `(m,)` in 0 .. 1.

    A member votes for its most probable class; of equal ones for the first.
    """
    counts, number = torch.zeros(()), 0
    for probabilities in members:
        votes = probabilities.argmax(1, keepdim=True)
        one = torch.ones_like(votes, dtype=torch.float64)
        counts = counts + torch.zeros_like(probabilities).scatter_(1, votes, one)
        number += 1
    agreeing = (counts * (counts - 1)).sum(1)  # whole numbers, whatever the order
    pairs = max(number * (number - 1), 1)
    return (number * (number - 1) - agreeing) / pairs


@register("query", "disagreement")
class Disagreement:
    """The samples on whose class the most pairs of a committee's members disagree.

    Args:
        committee: who votes. `learners`: the learner and the other learners of its parallel run.
            `models`: the learner's own models, of an ensemble, MC dropout or a Laplace
            approximation. `auto`: the other learners where there are any that are trained, else the
            learner's models where it has several.
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`. A score is one of few values, so that many
            are equal, and `top` takes the lower index of them: a draw spreads them.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Seung, Opper and Sompolinsky, Query by Committee, 1992, doi:10.1145/130385.130417",
        needs=(View.PROBABILITIES,),
        cost="t n c",
    )

    wants_committee = True

    def __init__(
        self, committee: str = "auto", batch: str = "top", coldness: float | None = None
    ) -> None:
        self.voters = Voters(committee, Task.CLASSIFICATION)
        self.wants_committee = self.voters.others
        self.votes_alone = self.voters.alone
        self.needs = self.voters.needs
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest shares; random samples as long as nobody else votes."""
        return select_by_vote(context, n, self.voters, disagreement_scores, self.batch)
