"""MaxHerding: generalized coverage by a Gaussian kernel, for few labels.

Generalized Coverage for More Robust Low-Budget Active Learning, Bae, Noh and Sutherland, 2024,
arXiv:2407.12212.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.points import Points, median_distance
from querist.strategies.options import above_zero
from querist.strategies.query.covering import checked_references, select_covering
from querist.strategies.query.space import Space
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
        self.references = checked_references(references)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order in which they were taken; scores count down to 1."""
        return select_covering(
            context, n, self.space, self.references, self._bandwidth, torch.Tensor.exp_
        )

    def _bandwidth(self, _: QueryContext, points: Points, references: torch.Tensor) -> float:
        if self.bandwidth is not None:
            return self.bandwidth / points.scale
        return self.width * median_distance(references)
