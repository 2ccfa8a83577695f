"""Margin sampling.

Active Hidden Markov Models for Information Extraction, Scheffer, Decomain and Wrobel, 2001,
doi:10.1007/3-540-44816-0_31.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.scoring import top_two
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def margin_scores(probabilities: torch.Tensor) -> torch.Tensor:
    """Minus the gap between the two most probable classes: `(m, c)` -> `(m,)` in -1 .. 0."""
    first, second = top_two(probabilities)
    return second - first


def one_less_margin(probabilities: torch.Tensor) -> torch.Tensor:
    """1 less the gap between the two most probable classes: `(m, c)` -> `(m,)` in 0 .. 1."""
    return 1 + margin_scores(probabilities)


@register("query", "margin")
class Margin:
    """The samples whose two most probable classes are closest to each other.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; the score that has a power is 1 - margin.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Scheffer, Decomain and Wrobel, Active Hidden Markov Models for Information "
        "Extraction, 2001, doi:10.1007/3-540-44816-0_31",
        needs=(View.PROBABILITIES,),
        cost="n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n smallest margins, the smallest first; the scores are minus the margins."""
        return self.batch.select(context, n, margin_scores, View.PROBABILITIES, offset=1.0)
