"""Least-confidence sampling.

A Sequential Algorithm for Training Text Classifiers, Lewis and Gale, 1994, arXiv:cmp-lg/9407020.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.rows import highest
from querist.strategies.query.scoring import select_by_probability
from querist.values import Selection
from querist.views import View


def least_confidence_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """What the most probable class leaves to the others: `(m, c)` -> `(m,)` in 0 .. 1 - 1/c."""
    return 1 - highest(probabilities)


@register("query", "least_confidence")
class LeastConfidence:
    """The samples whose most probable class is the least probable."""

    about = About(
        paper="Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, 1994, "
        "arXiv:cmp-lg/9407020",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n least confident predictions; the scores are 1 - max p."""
        return select_by_probability(context, n, least_confidence_scores)
