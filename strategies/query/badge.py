"""BADGE: samples whose gradients would be large and point in different directions.

Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, Ash, Zhang, Krishnamurthy,
Langford and Agarwal, 2020, arXiv:1906.03671.

The gradient of the last layer at the predicted class is the outer product of p less its one-hot and
the embedding. It is never built: products of gradients are products of products.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.factors import Factors
from querist.strategies.geometry.kmeans_plus_plus import kmeans_plus_plus
from querist.strategies.query.scoring import check_count, in_order
from querist.values import Selection
from querist.views import View, require_views


@register("query", "badge")
class Badge:
    """Samples that are uncertain and differ, by seeding k-means++ with the last layer's gradients.

    As in the authors' program, the first has the largest gradient.
    """

    about = About(
        paper="Ash, Zhang, Krishnamurthy, Langford and Agarwal, Deep Batch Active Learning by "
        "Diverse, Uncertain Gradient Lower Bounds, 2020, arXiv:1906.03671",
        needs=(View.GRADIENTS, View.EMBEDDINGS),
        cost="n (c + d), and less than n k (c + d)",
    )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order they were drawn; scores count down to 1."""
        check_count(n)
        require_views(context.learner, self.about.needs, "badge")
        if min(n, len(context.unlabeled)) == 0:
            return in_order(context, torch.empty(0, dtype=torch.int64))
        errors, embeddings = context.gather_all(*self.about.needs)
        gradients = Factors(embeddings, errors)
        picks = kmeans_plus_plus(gradients, n, context.generator, longest_first=True)
        return in_order(context, picks)
