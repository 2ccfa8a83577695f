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
from querist.strategies.query.stochastic import Batch
from querist.strategies.query.voting import Voters, select_by_vote, sum_of
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
    """The samples whose class a committee votes on with the highest entropy.

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
        paper="Dagan and Engelson, Committee-Based Sampling for Training Probabilistic "
        "Classifiers, 1995, doi:10.1016/B978-1-55860-377-6.50027-X",
        needs=(View.PROBABILITIES,),
        cost="t n (c + t)",
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
        """The n highest entropies, in nats; random samples as long as nobody else votes."""
        return select_by_vote(context, n, self.voters, vote_entropy_scores, self.batch)
