"""Diversity by the seeding of k-means++: far samples are likely, none is certain.

k-means++: The Advantages of Careful Seeding, Arthur and Vassilvitskii, 2007, SODA,
http://ilpubs.stanford.edu:8090/778/.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.factors import Factors
from querist.strategies.geometry.kmeans_plus_plus import kmeans_plus_plus
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View


@register("query", "k_means_plus_plus")
class KMeansPlusPlus:
    """Samples drawn by their squared distance from the labeled ones and from each other.

    Less drawn to outliers than `k_center`. It asks for no prediction, so that it can choose the
    very first samples.

    Args:
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007, SODA, "
        "http://ilpubs.stanford.edu:8090/778/",
        needs=(View.FEATURES,),
        cost="n l d, and less than n k d",
    )

    def __init__(self, space: str = "auto") -> None:
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order they were drawn; scores count down to 1.

        Where nothing is labeled, the first is drawn uniformly.
        """
        check_count(n)
        view = self.space.view(context.learner)
        if min(n, len(context.unlabeled)) == 0:
            return in_order(context, torch.empty(0, dtype=torch.int64))
        values = context.gather(view)
        known = None
        if len(context.labeled):
            # Many candidates lie in a file, also where the learner computes on a GPU.
            known = Factors(context.of_labeled(view).to(values.device))
        picks = kmeans_plus_plus(Factors(values), n, context.generator, known=known)
        return in_order(context, picks)
