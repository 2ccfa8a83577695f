"""MaxHerding: generalized coverage by a Gaussian kernel, for few labels.

Generalized Coverage for More Robust Low-Budget Active Learning, Bae, Noh and Sutherland, 2024,
arXiv:2407.12212.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.coverage import Coverage, most_covering
from querist.strategies.geometry.points import Points, drawn_references, median_distance
from querist.strategies.options import above_zero, whole_number
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space, labeled_points
from querist.values import Selection
from querist.views import View

REFERENCES = 4000
"""From how many samples coverage is measured; with 10,000 it comes out the same within 1 %."""


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
        cost="n r d for r references, at most 4,000",
    )

    def __init__(
        self,
        bandwidth: float | None = None,
        width: float = 0.7,
        references: int | None = REFERENCES,
        space: str = "auto",
    ) -> None:
        self.bandwidth = None if bandwidth is None else above_zero("bandwidth", bandwidth)
        self.width = above_zero("width", width)
        self.references = (
            None if references is None else whole_number("references", references, least=1)
        )
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
        known = labeled_points(context, points, self.space)
        coverage = Coverage(references, bandwidth, torch.Tensor.exp_, known)
        return in_order(context, most_covering(points, coverage, n, context.generator))

    def _bandwidth(self, points: Points, references: torch.Tensor) -> float:
        if self.bandwidth is not None:
            return self.bandwidth / points.scale
        return self.width * median_distance(references)
