"""Falcun: uncertainty and diversity by predicted probabilities alone.

FALCUN: A Simple and Efficient Deep Active Learning Strategy, Gilhuber, Beer, Ma and Seidl, ECML
PKDD 2024.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import finite_number
from querist.strategies.query.margin import one_less_margin
from querist.strategies.query.scoring import check_count, in_order
from querist.values import Selection
from querist.views import View, require_views


@register("query", "falcun")
class Falcun:
    """Samples drawn by their uncertainty and the distance of their prediction to those chosen.

    The uncertainty is 1 - margin. The distance to the nearest prediction that was chosen (the sum
    of absolute differences of probabilities) begins as the uncertainty, and is scaled to 0 .. 1
    from the second pick on; a sample is drawn with probability (uncertainty + distance)^gamma.
    Where all is uncertain, the distance decides; where only some samples are, the uncertainty.

    Args:
        gamma: 0 draws at random, a large number takes the highest.
    """

    about = About(
        paper="Gilhuber, Beer, Ma and Seidl, FALCUN: A Simple and Efficient Deep Active Learning "
        "Strategy, ECML PKDD 2024",
        needs=(View.PROBABILITIES,),
        cost="k n c",
    )

    def __init__(self, gamma: float = 10) -> None:
        self.gamma = finite_number("gamma", gamma, least=0)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order in which they were drawn; scores count down to 1."""
        check_count(n)
        require_views(context.learner, self.about.needs, "falcun")
        if not len(context.unlabeled):
            return in_order(context, torch.empty(0, dtype=torch.int64))
        probabilities = context.gather(View.PROBABILITIES)
        n = min(n, len(probabilities))
        if n == 0:
            return in_order(context, torch.empty(0, dtype=torch.int64))
        # One class after the other in memory: differences to one prediction are then fast.
        columns = probabilities.float().T.contiguous()
        uncertainty = one_less_margin(probabilities).float().clamp(0, 1)
        distance = uncertainty.clone()
        relevance = uncertainty + distance
        picks: list[int] = []
        for _ in range(n):
            pick = self._draw(relevance, picks, context.generator)
            picks.append(pick)
            distance = torch.minimum(distance, _differences(columns, pick))
            low, high = distance.aminmax()
            relevance = (distance - low) / (high - low).clamp_min(1e-12) + uncertainty
        return in_order(context, torch.tensor(picks))

    def _draw(self, relevance: torch.Tensor, picks: list[int], generator: torch.Generator) -> int:
        # Below 1, so that a large gamma leaves something of the highest.
        open_to = relevance.clone()
        open_to[picks] = 0
        chances = (open_to.double() / open_to.max().clamp_min(1e-12)).pow(self.gamma).cpu()
        chances[picks] = 0
        if not bool(chances.any()):
            chances = torch.ones(len(relevance), dtype=torch.float64)
            chances[picks] = 0
        cumulated = chances.cumsum(0)
        drawn = torch.rand((), generator=generator, dtype=torch.float64) * cumulated[-1]
        at = int(torch.searchsorted(cumulated, drawn, right=True))
        return at if at < len(chances) else int(chances.nonzero()[-1])


def _differences(columns: torch.Tensor, pick: int) -> torch.Tensor:
    """Sum of absolute differences to one sample's probabilities: `(c, n)` -> `(n,)`."""
    total = torch.zeros_like(columns[0])
    for column in columns:
        total += (column - column[pick]).abs_()
    return total
