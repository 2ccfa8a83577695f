"""Random sampling: the yardstick that every other query strategy has to beat."""

from __future__ import annotations

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import distinct_positions
from querist.strategies.query.scoring import check_count
from querist.values import Selection


@register("query", "random")
class Random:
    """Samples drawn uniformly, each at most once, without asking the learner."""

    about = About(paper="", needs=(), cost="k")

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Draw n of the unlabeled samples, in random order, each with the score 0."""
        check_count(n)
        size = len(context.unlabeled)
        n = min(n, size)
        drawn = context.unlabeled[distinct_positions(size, n, context.generator)]
        return Selection(tuple(drawn.tolist()), (0.0,) * n)
