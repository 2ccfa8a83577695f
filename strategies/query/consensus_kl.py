"""Mean divergence of a committee's members from their consensus.

Employing EM and Pool-Based Active Learning for Text Classification, McCallum and Nigam, 1998,
ICML, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.voting import select_by_vote
from querist.values import Selection, Task
from querist.views import View


def consensus_kl_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """Mean KL divergence to the mean prediction, in nats: k times `(m, c)` -> `(m,)` in 0 .. log k.

    It is the entropy of the mean less the mean entropy, so that one pass over the members does.
    """
    total, entropies, count = torch.zeros(()), torch.zeros(()), 0
    for probabilities in members:
        total = total + probabilities
        entropies = entropies + torch.special.entr(probabilities).sum(1)
        count += 1
    divergence: torch.Tensor = torch.special.entr(total / count).sum(1) - entropies / count
    return divergence.clamp_min(0)


@register("query", "consensus_kl")
class ConsensusKL:
    """The samples for which the parallel run's learners are farthest from their mean prediction."""

    about = About(
        paper="McCallum and Nigam, Employing EM and Pool-Based Active Learning for Text "
        "Classification, 1998, ICML",
        needs=(View.PROBABILITIES,),
        cost="t n c",
    )

    wants_committee = True

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest divergences, in nats; random samples as long as nobody else votes."""
        return select_by_vote(context, n, Task.CLASSIFICATION, consensus_kl_scores)
