"""MaxHerding: generalized coverage by a Gaussian kernel, for few labels.

Generalized Coverage for More Robust Low-Budget Active Learning, Bae, Noh and Sutherland, 2024,
arXiv:2407.12212.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.drawing import distinct_positions
from querist.strategies.geometry.coverage import Coverage, most_covering
from querist.strategies.geometry.points import Points, squared_distances
from querist.strategies.options import finite_number, whole_number
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View

REFERENCES = 10_000
"""From how many samples coverage is measured: its error is about 1 % then."""

PAIRS = 1000
"""The median distance is that within so many references."""


@register("query", "max_herding")
class MaxHerding:
    """The samples that, with the labeled ones, are most like all others: for the first labels.

    A sample covers another by `exp(-distance² / bandwidth²)`, and is covered as well as the labeled
    or chosen sample that covers it best; each pick adds the most to the mean over the pool. It asks
    for no prediction, so that it can choose the very first samples.

    Args:
        bandwidth: distance at which a sample covers another by 1/e, in the unit of the space; null
            for `width` times the median distance between two samples.
        width: what the median distance is multiplied with where `bandwidth` is null.
        references: the samples that are to be covered, drawn where the pool has more; null for
            all of them, which costs n² d.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Bae, Noh and Sutherland, Generalized Coverage for More Robust Low-Budget Active "
        "Learning, 2024, arXiv:2407.12212",
        needs=(View.FEATURES,),
        cost="n r d for r references, at most 10,000",
    )

    def __init__(
        self,
        bandwidth: float | None = None,
        width: float = 0.5,
        references: int | None = REFERENCES,
        space: str = "auto",
    ) -> None:
        self.bandwidth = None if bandwidth is None else _positive("bandwidth", bandwidth)
        self.width = _positive("width", width)
        self.references = references_option(references)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order in which they were taken; scores count down to 1."""
        check_count(n)
        if not n or not len(context.unlabeled):
            return in_order(context, torch.empty(0, dtype=torch.int64))
        points = Points(self.space.all(context))
        references = drawn_references(points, self.references, context.generator)
        bandwidth = self._bandwidth(points, references)

        def kernel(squared: torch.Tensor) -> torch.Tensor:
            return squared.mul_(-1 / bandwidth**2).exp_()

        coverage = Coverage(references, kernel, labeled_points(context, points, self.space))
        return in_order(context, most_covering(points, coverage, n, context.generator))

    def _bandwidth(self, points: Points, references: torch.Tensor) -> float:
        if self.bandwidth is not None:
            return self.bandwidth / points.scale
        some = references[:: max(1, len(references) // PAIRS)]
        median = float(squared_distances(some, some).flatten().median())
        return self.width * math.sqrt(max(median, 1e-12))


def references_option(value: Any) -> int | None:
    """The option `references`: how many samples stand for the pool; None for all.

    Raises:
        ConfigurationError: it is no number of samples.
    """
    return None if value is None else whole_number("references", value, least=1)


def drawn_references(
    points: Points, wanted: int | None, generator: torch.Generator
) -> torch.Tensor:
    """The points that are to be covered `(m, d)`: all, or as many as wanted, drawn."""
    size = len(points)
    if wanted is None or wanted >= size:
        return points.take(torch.arange(size))
    return points.take(distinct_positions(size, wanted, generator).sort().values)


def labeled_points(context: QueryContext, points: Points, space: Space) -> torch.Tensor | None:
    """The labeled samples among the points `(l, d)`; None where nothing is labeled."""
    if not len(context.labeled.indices):
        return None
    return points.moved(space.of(context, context.labeled.indices))


def _positive(option: str, value: Any) -> float:
    number = finite_number(option, value, least=0)
    if number == 0:
        raise ConfigurationError(f"{option} is a number above 0, not 0: set it to one")
    return number
