"""CLUE: clusters of what is uncertain.

Prabhu, Chandrasekaran, Saenko and Hoffman, Active Domain Adaptation via Clustering
Uncertainty-weighted Embeddings, 2021, arXiv:2010.08666.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.kmeans import Clusters, k_means
from querist.strategies.geometry.points import ROWS, Points
from querist.strategies.options import finite_number
from querist.strategies.query.entropy import entropy_scores
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views


def tempered(probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """Probabilities `(m, c)` of the logits divided by a temperature."""
    if temperature == 1:
        return probabilities
    return (probabilities.clamp_min(1e-30).log() / temperature).softmax(1)


@register("query", "clue")
class Clue:
    """The samples in the middle of n clusters, in which samples weigh what their entropy is.

    Args:
        temperature: that logits are divided by before entropies are taken; above 0. The lower it
            is, the more a few uncertain samples count; at 1 entropies are as predicted, which of a
            learner of few labels hardly differ, so that clusters are those of plain k-means.
        space: `embeddings`, `features` or `auto`, which is embeddings where the learner has them.
    """

    about = About(
        paper="Prabhu, Chandrasekaran, Saenko and Hoffman, Active Domain Adaptation via Clustering "
        "Uncertainty-weighted Embeddings, 2021, arXiv:2010.08666",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n (c + k d) + k² d",
    )

    def __init__(self, temperature: float = 0.3, space: str = "auto") -> None:
        self.temperature = finite_number("temperature", temperature, least=1e-3)
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The sample nearest to each centre, that of the cluster of most weight first.

        Where clusters are fewer than n, since samples are alike, the most uncertain others follow.
        """
        check_count(n)
        require_views(context.learner, self.needs, "clue")
        n = min(n, len(context.unlabeled))
        if n == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        # Gathered together, so that the learner passes the pool once.
        probabilities, values = context.gather_all(View.PROBABILITIES, view)
        weights = torch.cat([self._weights(part) for part in probabilities.split(ROWS)])
        points = Points(values)
        clusters = k_means(points, n, context.generator, weights)
        middles = _heaviest_first(clusters, weights)[:n]
        others = weights.argsort(descending=True, stable=True)
        others = others[~torch.isin(others, middles)]
        return in_order(context, torch.cat([middles, others[: n - len(middles)]]))

    def _weights(self, probabilities: torch.Tensor) -> torch.Tensor:
        return entropy_scores(tempered(probabilities.double(), self.temperature)).cpu()


def _heaviest_first(clusters: Clusters, weights: torch.Tensor) -> torch.Tensor:
    """Positions of the clusters' middles `(m,)`."""
    nearest = clusters.nearest.cpu()
    heavy = torch.bincount(nearest, weights=weights, minlength=len(clusters.centres))
    middles = clusters.closest().cpu()
    return middles[heavy[nearest[middles]].argsort(descending=True, stable=True)]
