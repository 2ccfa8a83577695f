"""ProbCover: balls that cover the pool, for few labels.

Active Learning Through a Covering Lens, Yehuda, Dekel, Hacohen and Weinshall, 2022,
arXiv:2205.11320.
"""

from __future__ import annotations

import math

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import at_most
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.points import Points, squared_distances
from querist.strategies.options import above_zero, share, whole_number
from querist.strategies.query.covering import checked_references, select_covering
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View

REFERENCES = 10_000
"""From how many samples coverage is measured: a ball may hold but few of them."""

CLUSTERS = 10
"""Stand for classes where fewer than two are known."""

BALLS = 1000
"""The radius is found from the balls around so many samples."""

LEAST = 1e-6
"""A radius below is not told from none; 1 is how far the whole pool is spread."""


@register("query", "prob_cover")
class ProbCover:
    """The samples whose balls cover most of the pool, with the labeled ones: for the first labels.

    Each pick is the sample with the most others within the radius that no labeled or chosen sample
    has within its own; when all are covered, the rest is drawn at random. It asks for no
    prediction, so that it can choose the very first samples. The choice depends much on the radius:
    `max_herding` is the same idea with soft balls.

    Args:
        radius: of a ball, in the unit of the space, above 0; null for the largest at which a share
            `purity` of the balls lies within one cluster each.
        purity: which share of the balls should be pure where `radius` is null.
        clusters: how many clusters stand for the classes where `radius` is null; null for the
            number of classes that are labeled, or 10 where there are fewer than two.
        references: the samples that are to be covered, drawn where the pool has more; null for
            all of them, which costs n² d.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Yehuda, Dekel, Hacohen and Weinshall, Active Learning Through a Covering Lens, "
        "2022, arXiv:2205.11320",
        needs=(View.FEATURES,),
        cost="n r d for r references, at most 10,000",
    )

    def __init__(
        self,
        radius: float | None = None,
        purity: float = 0.95,
        clusters: int | None = None,
        references: int | None = REFERENCES,
        space: str = "auto",
    ) -> None:
        self.radius = None if radius is None else above_zero("radius", radius)
        self.purity = share("purity", purity)
        self.clusters = None if clusters is None else whole_number("clusters", clusters, least=2)
        self.references = checked_references(references)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order in which they were taken; scores count down to 1."""
        return select_covering(context, n, self.space, self.references, self._radius, _ball)

    def _radius(self, context: QueryContext, points: Points, _: torch.Tensor) -> float:
        if self.radius is not None:
            return max(self.radius / points.scale, LEAST)
        clusters = self.clusters or _known_classes(context)
        return max(pure_radius(points, clusters, self.purity, context.generator), LEAST)


def pure_radius(
    points: Points, clusters: int, purity: float, generator: torch.Generator
) -> float:
    """The largest radius at which a share of the balls around points lies within one cluster each.

    A ball is pure up to the nearest point of another cluster, so that the radius is a quantile of
    these distances. Infinite where all points are of one cluster.

    Args:
        points: what is clustered, by k-means; up to 1,000 of them are looked at.
        clusters: how many.
        purity: the share of balls, 0 to 1.
        generator: draws seeds and points.
    """
    found = k_means(points, clusters, generator)
    at = at_most(len(points), BALLS, generator)
    x, own = points.take(at), found.nearest[at.to(found.nearest.device), None]
    pure = torch.full((len(x),), math.inf, device=x.device)
    for begin, end, rows in points.chunks():
        squared = squared_distances(x, rows)
        squared[own == found.nearest[begin:end]] = math.inf
        pure = torch.minimum(pure, squared.amin(1))
    ordered = pure.sqrt().sort().values
    # Just below the first ball that may not be pure any more.
    first = min(len(ordered) - 1, int((1 - purity) * len(ordered) + 1e-9))
    return float(ordered[first]) * (1 - 1e-4)


def _ball(negative: torch.Tensor) -> torch.Tensor:
    """1 where minus the squared share of the radius is at least -1, else 0, in place.

    Sums and bounds are a third faster than a comparison, which makes another type.
    """
    return negative.add_(1 + 1e-6).mul_(1e30).clamp_(0, 1)


def _known_classes(context: QueryContext) -> int:
    targets = context.labeled.targets
    if targets.is_floating_point() or len(found := targets.unique()) < 2:
        return CLUSTERS
    return len(found)
