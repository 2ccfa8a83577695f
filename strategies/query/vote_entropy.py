"""Vote entropy over a committee.

Committee-Based Sampling for Training Probabilistic Classifiers, Dagan and Engelson, 1995,
doi:10.1016/B978-1-55860-377-6.50027-X.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.registry import register
from querist.strategies.query.voting import Vote, vote_counts
from querist.views import View

FIXED = 2.0**50
"""Parts of a nat: contributions are whole numbers of them."""


def vote_entropy_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """Entropy of the members' votes in nats: k times `(m, c)` -> `(m,)` in 0 .. log min(k, c).

    A member votes for its most probable class; of equal ones for the first. The paper divides by
    log k, which ranks alike.
    """
    counts, number = vote_counts(members)
    shares = torch.arange(number + 1, dtype=torch.float64) / number
    # Sums of whole numbers are the same in any order, so that equal votes for other classes are
    # the same number, to the bit.
    parts = (torch.special.entr(shares) * FIXED).round().long().to(counts.device)
    entropies: torch.Tensor = parts[counts].sum(1).double() / FIXED
    return entropies


@register("query", "vote_entropy")
class VoteEntropy(Vote):
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
        cost="t n c",
    )

    def score(self, members: Iterable[torch.Tensor]) -> torch.Tensor:
        """The entropy of the votes, in nats."""
        return vote_entropy_scores(members)
