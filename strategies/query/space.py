"""Where distances between samples are measured: the option `space` of strategies that need them."""

from __future__ import annotations

from typing import Any

import torch

from querist.context import QueryContext
from querist.protocols import Predictor
from querist.strategies.geometry.points import Points
from querist.strategies.options import one_of
from querist.views import View, require_views, views_of

SPACES = ("auto", "embeddings", "features")
"""What the option takes."""


class Space:
    """The option `space`: distances by the learner's embeddings, or by the pool's features.

    Args:
        space: `embeddings`, which not every learner has; `features`, which are the same for every
            learner and need none that is trained; or `auto`, which takes embeddings where the
            learner has them, else features; features, too, as long as the learner says by an
            attribute `fitted` that it was never trained.

    Raises:
        ConfigurationError: it is none of these.
    """

    def __init__(self, space: Any) -> None:
        self.name = one_of("space", space, SPACES)

    @property
    def needs(self) -> View:
        """What the learner must have; `auto` is content with features, which all have."""
        return View.EMBEDDINGS if self.name == "embeddings" else View.FEATURES

    def view(self, learner: Predictor) -> View:
        """The view to ask this learner for.

        Raises:
            StrategyError: it has no embeddings, and they were wanted.
        """
        if self.name == "auto":
            there = View.EMBEDDINGS in views_of(learner) and getattr(learner, "fitted", True)
            return View.EMBEDDINGS if there else View.FEATURES
        require_views(learner, (self.needs,), f"a query strategy with space={self.name}")
        return self.needs

    def all(self, context: QueryContext) -> torch.Tensor:
        """All unlabeled samples `(u, d)`, not to be changed; a mapped file where they are many."""
        return context.gather(self.view(context.learner))

    def of(self, context: QueryContext, indices: torch.Tensor) -> torch.Tensor:
        """The samples with these pool indices `(m,)`, in their order, `(m, d)`."""
        return context.of(indices, self.view(context.learner))


def labeled_points(context: QueryContext, points: Points, space: Space) -> torch.Tensor | None:
    """The labeled samples among the points `(l, d)`; None where nothing is labeled."""
    if not len(context.labeled.indices):
        return None
    return points.moved(space.of(context, context.labeled.indices))
