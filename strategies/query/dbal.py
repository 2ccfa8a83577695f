"""DBAL: diverse batches by weighted k-means on uncertain samples.

Diverse mini-batch Active Learning, Zhdanov, 2019, arXiv:1901.05954.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.points import Points
from querist.strategies.options import finite_number
from querist.strategies.query.k_means import nearest_to_centres
from querist.strategies.query.margin import margin_scores
from querist.strategies.query.scoring import check_count, select_by_probability
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View


@register("query", "dbal")
class DBAL:
    """Of the beta n samples with the smallest margins those nearest to the centres of n clusters.

    The clusters are those of k-means with the weights 1 - margin.

    Args:
        beta: how many times n the smallest margins are clustered; 1 is margin sampling.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Zhdanov, Diverse mini-batch Active Learning, 2019, arXiv:1901.05954",
        needs=(View.PROBABILITIES,),
        cost="n c + 30 beta k² d",
    )

    def __init__(self, beta: float = 10, space: str = "auto") -> None:
        self.beta = candidates_factor("beta", beta)
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, the smallest margin first; the scores are minus the margins."""
        check_count(n)
        uncertain = select_by_probability(context, int(self.beta * n), margin_scores)
        n = min(n, len(uncertain))
        if n in (0, len(uncertain)):
            return uncertain
        indices = torch.tensor(uncertain.indices)
        margins = -torch.tensor(uncertain.scores)
        points = Points(self.space.of(context, indices))
        clusters = k_means(points, n, context.generator, 1 - margins)
        picks = nearest_to_centres(clusters, n).sort().values.tolist()
        return Selection(
            tuple(uncertain.indices[pick] for pick in picks),
            tuple(uncertain.scores[pick] for pick in picks),
        )


def candidates_factor(option: str, value: float) -> float:
    """How many times the wanted number is looked at, at least 1.

    Raises:
        ConfigurationError: it is less, or no finite number.
    """
    number = finite_number(option, value, least=0)
    if number < 1:
        raise ConfigurationError(
            f"{option} is a number of at least 1, not {number:g}: fewer candidates than are "
            "wanted are none to choose from"
        )
    return number
