"""Mean divergence of a committee's members from their consensus.

Employing EM and Pool-Based Active Learning for Text Classification, McCallum and Nigam, 1998,
ICML, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.registry import register
from querist.strategies.query.voting import Vote
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
class ConsensusKL(Vote):
    """The samples for which a committee's members are farthest from their mean prediction.

    Args:
        committee: who votes. `learners`: the learner and the other learners of its parallel run.
            `models`: the learner's own models, of an ensemble, MC dropout or a Laplace
            approximation. `auto`: the other learners where there are any that are trained, else the
            learner's models where it has several.
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="McCallum and Nigam, Employing EM and Pool-Based Active Learning for Text "
        "Classification, 1998, ICML",
        needs=(View.PROBABILITIES,),
        cost="t n c",
    )

    def score(self, members: Iterable[torch.Tensor]) -> torch.Tensor:
        """The mean divergence, in nats."""
        return consensus_kl_scores(members)
