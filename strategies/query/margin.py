"""Margin sampling.

Active Hidden Markov Models for Information Extraction, Scheffer, Decomain and Wrobel, 2001,
doi:10.1007/3-540-44816-0_31.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.scoring import select_by_probability, top_two
from querist.values import Selection
from querist.views import View


def margin_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Minus the gap between the two most probable classes: `(m, c)` -> `(m,)` in -1 .. 0."""
    first, second = top_two(probabilities)
    return second - first


@register("query", "margin")
class Margin:
    """The samples whose two most probable classes are closest to each other."""

    about = About(
        paper="Scheffer, Decomain and Wrobel, Active Hidden Markov Models for Information "
        "Extraction, 2001, doi:10.1007/3-540-44816-0_31",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n smallest margins, the smallest first; the scores are minus the margins."""
        return select_by_probability(context, n, margin_scores)
