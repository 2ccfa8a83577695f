"""Share of a committee's pairs that vote for different classes.

Query by Committee, Seung, Opper and Sompolinsky, 1992, doi:10.1145/130385.130417; as a measure of
several members: Measures of Diversity in Classifier Ensembles and Their Relationship with the
Ensemble Accuracy, Kuncheva and Whitaker, 2003, doi:10.1023/A:1022859003006.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.registry import register
from querist.strategies.query.voting import Vote, vote_counts
from querist.views import View


def disagreement_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """How many of the k(k - 1)/2 pairs vote differently: k times `(m, c)` -> `(m,)` in 0 .. 1.

    A member votes for its most probable class; of equal ones for the first.
    """
    counts, number = vote_counts(members)
    agreeing = (counts * (counts - 1)).sum(1)
    pairs = max(number * (number - 1), 1)
    return (number * (number - 1) - agreeing).double() / pairs


@register("query", "disagreement")
class Disagreement(Vote):
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

    def score(self, members: Iterable[torch.Tensor]) -> torch.Tensor:
        """The share of pairs that vote differently."""
        return disagreement_scores(members)
