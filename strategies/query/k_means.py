"""Diversity by k-means: the samples nearest to the centres of n clusters.

Using Cluster-Based Sampling to Select Initial Training Set for Active Learning in Text
Classification, Kang, Ryu and Kwon, 2004, doi:10.1007/978-3-540-24775-3_46.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.kmeans import k_means, nearest_to_centres
from querist.strategies.geometry.points import Points
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View


@register("query", "k_means")
class KMeans:
    """The sample nearest to the centre of each of n clusters, whatever is labeled already.

    It asks for no prediction, so that it can choose the very first samples. Again and again it
    asks for the same middles: later than the first batch it is worse than random sampling.

    Args:
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Kang, Ryu and Kwon, Using Cluster-Based Sampling to Select Initial Training Set for "
        "Active Learning in Text Classification, 2004, doi:10.1007/978-3-540-24775-3_46",
        needs=(View.FEATURES,),
        cost="n k d + 30 k² d",
    )

    def __init__(self, space: str = "auto") -> None:
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, those of the largest clusters first; scores count down to 1."""
        check_count(n)
        n = min(n, len(context.unlabeled))
        if n == 0:
            return in_order(context, torch.empty(0, dtype=torch.int64))
        clusters = k_means(Points(self.space.all(context)), n, context.generator)
        picks = nearest_to_centres(clusters, n)
        sizes = clusters.sizes().cpu()[clusters.nearest.cpu()[picks]]
        return in_order(context, picks[sizes.argsort(descending=True, stable=True)])
