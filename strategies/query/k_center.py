"""Core-set by k-center greedy: each sample is the farthest from all that are labeled or chosen.

Active Learning for Convolutional Neural Networks: A Core-Set Approach, Sener and Savarese, 2018,
arXiv:1708.00489.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.farthest_first import farthest_first
from querist.strategies.query.scoring import check_count
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View


@register("query", "k_center")
class KCenter:
    """The samples farthest from the labeled ones and from each other, one after the other.

    It covers the pool without a prediction, so that it can choose the very first samples; outliers
    are chosen first.

    Args:
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set "
        "Approach, 2018, arXiv:1708.00489",
        needs=(View.FEATURES,),
        cost="n l d, and less than n k d",
    )

    def __init__(self, space: str = "auto") -> None:
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order of greedy k-center; scores are the distances they were picked at.

        Where nothing is labeled, the first is drawn at random and has the score of the second.
        """
        check_count(n)
        view = self.space.view(context.learner)
        if min(n, len(context.unlabeled)) == 0:
            return Selection((), ())
        points = context.gather(view)
        known, first = None, 0
        if len(context.labeled):
            known = context.of_labeled(view)
        else:
            first = int(torch.randint(len(points), (1,), generator=context.generator))
        picks = farthest_first(points, n, known=known, first=first)
        distances = picks.distances.cpu()
        if known is None:
            distances[0] = distances[1] if len(distances) > 1 else 0.0
        # Rounding may make a distance a bit longer than the one before.
        scores = distances.cummin(0).values
        indices = context.unlabeled[picks.positions.cpu()]
        return Selection(tuple(indices.tolist()), tuple(scores.tolist()))
