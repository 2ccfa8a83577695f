"""Uncertainty herding: coverage in which uncertain samples count more.

Uncertainty Herding: One Active Learning Method for All Label Budgets, Bae, Oliveira and Sutherland,
2024, arXiv:2412.20644.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import distinct_positions
from querist.strategies.geometry.coverage import Coverage, most_covering
from querist.strategies.geometry.points import Points, median_distance, squared_distances
from querist.strategies.options import above_zero, candidates_factor, finite_number, one_of
from querist.strategies.query.dbal import DOUBTS, most_doubtful
from querist.strategies.query.scoring import check_count, counted_down
from querist.strategies.query.space import Space, labeled_points
from querist.values import Selection
from querist.views import View

REFERENCES = 10_000
"""Of more candidates so many are drawn that are to be covered; all may be chosen."""


@register("query", "uncertainty_herding")
class UncertaintyHerding:
    """Of the most uncertain samples those that, with the labeled, are most like all.

    A sample covers another by `exp(-distance² / bandwidth²)`, and is covered as well as the labeled
    or chosen sample that covers it best; each pick adds the most to the sum over candidates, in
    which uncertain ones count more. The bandwidth follows how far candidates are from what is
    labeled: it is wide while there are few labels, and narrow later, when uncertainty decides. The
    paper has all of the pool as candidates, and a bandwidth by the labeled samples alone.

    Args:
        beta: how many times n samples are candidates; 1 is uncertainty sampling.
        score: the uncertainty: margin for 1 less the margin, or odds for the probability of the
            second class over that of the first.
        power: a candidate counts as much as this power of its uncertainty; 0 lets all count alike.
        width: the bandwidth is so many times the median distance from a candidate to the nearest
            labeled sample, or between two candidates where nothing is labeled.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Bae, Oliveira and Sutherland, Uncertainty Herding: One Active Learning Method for "
        "All Label Budgets, 2024, arXiv:2412.20644",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c + beta² k² d, at most n c + 10,000 beta k d",
    )

    def __init__(
        self,
        beta: float = 20,
        score: str = "margin",
        power: float = 1,
        width: float = 0.7,
        space: str = "auto",
    ) -> None:
        self.beta = candidates_factor("beta", beta)
        self.doubt = DOUBTS[one_of("score", score, tuple(DOUBTS))]
        self.power = finite_number("power", power, least=0)
        self.width = above_zero("width", width)
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order in which they were taken; scores count down to 1."""
        check_count(n)
        uncertain, indices, weights = most_doubtful(context, self.doubt, int(self.beta * n))
        n = min(n, len(uncertain))
        if n in (0, len(uncertain)):
            return uncertain
        points = Points(self.space.of(context, indices))
        x = points.take(torch.arange(len(points)))
        known = labeled_points(context, points, self.space)
        bandwidth = self.width * (median_distance(x) if known is None else _to_nearest(x, known))
        weights = weights.pow(self.power)
        if len(x) > REFERENCES:
            drawn = distinct_positions(len(x), REFERENCES, context.generator).sort().values
            x, weights = points.take(drawn), weights[drawn]
        coverage = Coverage(x, bandwidth, torch.Tensor.exp_, known, weights)
        picks = most_covering(points, coverage, n, context.generator).tolist()
        return counted_down([uncertain.indices[pick] for pick in picks])


def _to_nearest(x: torch.Tensor, known: torch.Tensor) -> float:
    """The median distance from rows of `(m, d)` to the nearest of `(l, d)`."""
    nearest = [squared_distances(rows, known).amin(1) for rows in x.split(512)]
    return float(torch.cat(nearest).median().sqrt())
