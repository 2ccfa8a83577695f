"""BatchBALD: a batch that says much about the model as a whole, and nothing twice.

BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian Active Learning, Kirsch, van
Amersfoort and Gal, 2019, arXiv:1906.08158; that a bound of an earlier pick saves most of the work:
Accelerated Greedy Algorithms for Maximizing Submodular Set Functions, Minoux, 1978,
doi:10.1007/BFb0006528.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import whole_number
from querist.strategies.query.bald import bald_scores
from querist.strategies.query.configurations import Configurations
from querist.strategies.query.rows import entropies
from querist.strategies.query.scoring import check_count, select_by_score
from querist.values import Selection
from querist.views import View, require_views

LOOKED_AT = 64
"""Samples whose additions are computed first for a pick; then twice as many, and so on."""
ROUNDING = 1e-6
"""Nats by which equal additions may differ in float32."""


@register("query", "batch_bald")
class BatchBald:
    """The batch whose labels together say most about the learner's models, chosen greedily.

    Args:
        configurations: how many combinations of the batch's labels are looked at. With c classes
            the first b picks are exact where c^b is no more; after that combinations are drawn.
        candidates: only so many are looked at, those of the highest BALD scores; at least n.
    """

    about = About(
        paper="Kirsch, van Amersfoort and Gal, BatchBALD: Efficient and Diverse Batch Acquisition "
        "for Deep Bayesian Active Learning, 2019, arXiv:1906.08158",
        needs=(View.PROBABILITY_SAMPLES,),
        cost="n t c + k m min(n, 10,000) t c, m = 2,000 label combinations",
    )

    def __init__(self, configurations: int = 2_000, candidates: int = 10_000) -> None:
        self.configurations = whole_number("configurations", configurations, least=1)
        self.candidates = whole_number("candidates", candidates, least=1)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples in the order of the picks; the scores are the nats that each adds.

        Sampling error may make an addition seem larger than the one before; it then has the score
        of the one before.
        """
        check_count(n)
        require_views(context.learner, self.about.needs, "the query strategy batch_bald")
        if n == 0 or not len(context.unlabeled):
            return Selection((), ())
        first = max(n, self.candidates)
        best = select_by_score(context, first, bald_scores, View.PROBABILITY_SAMPLES)
        indices = torch.tensor(best.indices).sort().values
        samples = context.of(indices, View.PROBABILITY_SAMPLES)
        known = Configurations(len(samples), self.configurations, context.generator)
        positions, gains = pick_greedily(samples, min(n, len(indices)), known)
        lowered = torch.tensor(gains, dtype=torch.float64).cummin(0).values.tolist()
        return Selection(tuple(indices[positions].tolist()), tuple(lowered))


def pick_greedily(
    samples: torch.Tensor, n: int, known: Configurations
) -> tuple[list[int], list[float]]:
    """Positions of n samples, each the one that adds most to those before, and what it adds.

    Of equal ones the first. What a sample adds only falls as the batch grows, so that what it would
    have added earlier is a bound: samples are looked at in the order of their bounds, and most of
    them never again. Where combinations are drawn, bounds hold up to the error of the draw.

    Args:
        samples: class probabilities of m samples by each model `(t, m, c)`.
        n: how many, at most m.
        known: the batch's labels; the picks are added.
    """
    within = _mean_entropies(samples)
    bounds = known.conditional_entropies(samples) - within
    positions: list[int] = []
    gains: list[float] = []
    for _ in range(n):
        best = -torch.inf
        order = bounds.argsort(descending=True, stable=True)
        begin, size = 0, LOOKED_AT
        while begin < len(order):
            some = order[begin : begin + size]
            begin, size = begin + size, 2 * size
            # A bound as high as the best may belong to an equal sample that comes first.
            if float(bounds[some[0]]) < best - ROUNDING:
                break
            there = some.to(samples.device)
            fresh = known.conditional_entropies(samples[:, there]) - within[some]
            bounds[some] = torch.where(bounds[some].isneginf(), bounds[some], fresh)
            best = max(best, float(bounds[some].max()))
        # What was not looked at has a lower bound; of equal ones argmax takes the first.
        at = int(bounds.argmax())
        positions.append(at)
        gains.append(best)
        known.add(samples[:, at])
        bounds[at] = -torch.inf
    return positions, gains


def _mean_entropies(samples: torch.Tensor) -> torch.Tensor:
    """Entropy of each sample's label when the model is known, `(t, m, c)` -> `(m,)` in float64."""
    total = torch.zeros(samples.shape[1], dtype=torch.float64)
    for probabilities in samples:
        total += entropies(probabilities).cpu()
    return total / len(samples)
