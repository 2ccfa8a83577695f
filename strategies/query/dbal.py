"""DBAL: diverse batches by weighted k-means on uncertain samples.

Diverse mini-batch Active Learning, Zhdanov, 2019, arXiv:1901.05954.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.kmeans import k_means, nearest_to_centres
from querist.strategies.geometry.points import Points
from querist.strategies.options import candidates_factor, one_of
from querist.strategies.query.margin import margin_scores
from querist.strategies.query.scoring import Score, check_count, select_by_probability, top_two
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View


def odds_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """The second class over the first, by probability: `(m, c)` -> `(m,)` in 0 .. 1."""
    first, second = top_two(probabilities)
    return second / first.clamp_min(torch.finfo(first.dtype).tiny)


@dataclass(frozen=True)
class Doubt:
    """How uncertain samples are, and how much they count.

    Attributes:
        scores: acquisition function over class probabilities.
        less: what is missing to a weight of at least 0.
    """

    scores: Score
    less: float


DOUBTS = {"margin": Doubt(margin_scores, 1.0), "odds": Doubt(odds_scores, 0.0)}
"""What the option `score` takes."""


@register("query", "dbal")
class DBAL:
    """Of the beta n most uncertain samples those nearest to the centres of n clusters.

    The clusters are those of k-means, weighted by how uncertain the samples are.

    Args:
        beta: how many times n samples are clustered; 1 is uncertainty sampling.
        score: the uncertainty: margin for 1 less the margin, as in the paper, or odds for the
            probability of the second class over that of the first, which falls faster.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Zhdanov, Diverse mini-batch Active Learning, 2019, arXiv:1901.05954",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c + 30 beta k² d",
    )

    def __init__(self, beta: float = 10, score: str = "margin", space: str = "auto") -> None:
        self.beta = candidates_factor("beta", beta)
        self.doubt = DOUBTS[one_of("score", score, tuple(DOUBTS))]
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, the most uncertain first; the scores are minus the margins, or the odds."""
        check_count(n)
        uncertain, indices, weights = most_doubtful(context, self.doubt, int(self.beta * n))
        n = min(n, len(uncertain))
        if n in (0, len(uncertain)):
            return uncertain
        points = Points(self.space.of(context, indices))
        clusters = k_means(points, n, context.generator, weights)
        picks = nearest_to_centres(clusters, n).sort().values.tolist()
        return Selection(
            tuple(uncertain.indices[pick] for pick in picks),
            tuple(uncertain.scores[pick] for pick in picks),
        )


def most_doubtful(
    context: QueryContext, doubt: Doubt, most: int
) -> tuple[Selection, torch.Tensor, torch.Tensor]:
    """The most uncertain samples, their indices `(m,)` and their weights `(m,)`, 0 to 1."""
    uncertain = select_by_probability(context, most, doubt.scores)
    weights = (torch.tensor(uncertain.scores) + doubt.less).clamp(0, 1)
    return uncertain, torch.tensor(uncertain.indices, dtype=torch.int64), weights
