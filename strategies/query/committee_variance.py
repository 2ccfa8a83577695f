"""Variance of a committee's predictions, for regression.

Minimisation of Data Collection by Active Learning, RayChaudhuri and Hamey, 1995,
doi:10.1109/ICNN.1995.487351; Active Learning for Regression Based on Query by Committee, Burbidge,
Rowland and King, 2007, doi:10.1007/978-3-540-77226-2_22.
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


def committee_variance_scores(members: Iterable[torch.Tensor]) -> torch.Tensor:
    """Variance over the members: k times `(m,)`, or `(m, d)` whose variances are added -> `(m,)`.

    Mean squared distance from the mean, in the target's unit squared.
    """
    predictions = list(members)
    mean = sum_of(predictions) / len(predictions)
    variance = sum_of((one - mean).square() for one in predictions) / len(predictions)
    return variance.reshape(len(variance), -1).sum(1)


@register("query", "committee_variance")
class CommitteeVariance:
    """The samples whose predicted numbers vary most over the parallel run's learners."""

    about = About(
        paper="RayChaudhuri and Hamey, Minimisation of Data Collection by Active Learning, "
        "1995, doi:10.1109/ICNN.1995.487351",
        needs=(View.NUMBERS,),
        cost="t n c",
    )

    wants_committee = True

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest variances; random samples as long as nobody else votes."""
        return select_by_vote(context, n, Task.REGRESSION, committee_variance_scores)
