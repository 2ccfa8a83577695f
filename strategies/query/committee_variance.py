"""Variance of a committee's predictions, for regression.

Minimisation of Data Collection by Active Learning, RayChaudhuri and Hamey, 1995,
doi:10.1109/ICNN.1995.487351; Active Learning for Regression Based on Query by Committee, Burbidge,
Rowland and King, 2007, doi:10.1007/978-3-540-77226-2_22.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from querist.about import About
from querist.registry import register
from querist.strategies.query.voting import Vote, sum_of
from querist.values import Task
from querist.views import View


def committee_variance_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """Variance over the members: k times `(m,)`, or `(m, d)` whose variances are added -> `(m,)`.

    Mean squared distance from the mean, in the target's unit squared.
    """
    predictions = list(members)
    mean = sum_of(predictions) / len(predictions)
    variance = sum_of((one - mean).square() for one in predictions) / len(predictions)
    return variance.reshape(len(variance), -1).sum(1)


@register("query", "committee_variance")
class CommitteeVariance(Vote):
    """The samples whose predicted numbers vary most over a committee.

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
        paper="RayChaudhuri and Hamey, Minimisation of Data Collection by Active Learning, "
        "1995, doi:10.1109/ICNN.1995.487351",
        needs=(View.NUMBERS,),
        cost="t n c",
    )

    task = Task.REGRESSION

    def score(self, members: Iterable[torch.Tensor]) -> torch.Tensor:
        """The variance, in the target's unit squared."""
        return committee_variance_scores(members)
