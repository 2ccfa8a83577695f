"""Greedy sampling in the output space, GSy.

Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, arXiv:1808.04245.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.farthest_first import farthest_first
from querist.strategies.geometry.points import nearest_to_the_mean
from querist.strategies.query.scoring import check_count, in_order
from querist.values import Selection
from querist.views import View, require_views


@register("query", "greedy_output")
class GreedyOutput:
    """The samples whose predicted numbers are farthest from all labels and each other (GSy).

    A chosen sample counts as labeled with its prediction until the batch is full.
    """

    about = About(
        paper="Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, "
        "arXiv:1808.04245",
        needs=(View.NUMBERS,),
        cost="n log l, and less than k n c",
    )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Each is the one farthest from all labels and chosen ones; without any, the mean's."""
        check_count(n)
        require_views(context.learner, (View.NUMBERS,), "greedy_output")
        if min(n, len(context.unlabeled)) == 0:
            return Selection((), ())
        numbers = context.gather(View.NUMBERS).double()
        if not len(context.labeled):
            found = farthest_first(numbers, n, first=nearest_to_the_mean(numbers))
            return in_order(context, found.positions)
        labels = context.labeled.targets.reshape(len(context.labeled), -1).to(numbers)
        if numbers.shape[1] == 1:
            found = farthest_first(numbers, n, distances=_nearest(numbers[:, 0], labels[:, 0]))
        else:
            found = farthest_first(numbers, n, known=labels)
        return in_order(context, found.positions)


def _nearest(numbers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How far each number `(n,)` is from the nearest label, by binary search."""
    known = labels.sort().values
    after = torch.searchsorted(known, numbers)
    left = known[(after - 1).clamp_min(0)]
    right = known[after.clamp_max(len(known) - 1)]
    return torch.minimum((numbers - left).abs(), (numbers - right).abs())
