"""Greedy sampling in the input space, GSx.

Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, arXiv:1808.04245;
in the input space alone: Yu and Kim, Passive Sampling for Regression, 2010,
doi:10.1109/ICDM.2010.9.
"""

from __future__ import annotations

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.farthest_first import farthest_first
from querist.strategies.geometry.points import nearest_to_the_mean
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views


@register("query", "greedy_input")
class GreedyInput:
    """The samples farthest from the labeled ones and from each other (GSx), for regression.

    Needs no trained learner. Features should be of one scale.

    Args:
        space: `features`, `embeddings` or `auto`, which is embeddings where the learner has them.
    """

    about = About(
        paper="Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, "
        "arXiv:1808.04245",
        needs=(View.FEATURES,),
        cost="n l d, and less than k n d",
    )

    def __init__(self, space: str = "features") -> None:
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Each is the one farthest from all labeled and chosen ones; without any, the mean's."""
        check_count(n)
        require_views(context.learner, self.needs, "greedy_input")
        if min(n, len(context.unlabeled)) == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        values = context.gather(view)
        known, first = None, 0
        if len(context.labeled):
            known = context.of_labeled(view)
        else:
            first = nearest_to_the_mean(values)
        return in_order(context, farthest_first(values, n, known=known, first=first).positions)
