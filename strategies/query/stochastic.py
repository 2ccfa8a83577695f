"""Batches that are drawn by their scores instead of being the highest scores.

The highest scores of a pool are often one sample many times over. Noise on the scores spreads a
batch out at no cost: with Gumbel noise, taking the n highest is drawing n without replacement,
each with a probability that grows with its score.

Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning, Kirsch, Farquhar,
Atighehchian, Jesson, Branchaud-Charron and Gal, 2023, arXiv:2106.12059.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.strategies.options import finite_number, one_of
from querist.strategies.query.scoring import (
    TopScores,
    check_count,
    check_scores,
    select_by_score,
)
from querist.values import Selection
from querist.views import View, require_views

FORMS = ("top", "power", "softmax", "softrank")
BLOCK = 2**16
"""Noise is drawn so many numbers at a time, whatever the chunks of the pool."""
LEAST = torch.finfo(torch.float64).tiny

Score = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """How n samples are chosen by their scores.

    Attributes:
        form: `top`: the n highest. The others draw without replacement, a sample of score s and
            rank r (1 = highest) with a probability in proportion to: `power` s^coldness, `softmax`
            exp(coldness s), `softrank` r^-coldness.
        coldness: 0 draws uniformly; the higher, the nearer to `top`.
    """

    form: str = "top"
    coldness: float = 1.0

    @classmethod
    def of(cls, batch: str, coldness: float | None) -> Batch:
        """From the options of a strategy.

        Args:
            batch: one of `FORMS`.
            coldness: at least 0; None = 1.

        Raises:
            ConfigurationError: one of them is something else, or a coldness that does nothing.
        """
        form = one_of("batch", batch, FORMS)
        if coldness is None:
            return cls(form)
        if form == "top":
            raise ConfigurationError(
                f"coldness has no effect where batch is top, and it is {coldness!r:.80}: set batch "
                "to power, softmax or softrank, or remove it"
            )
        return cls(form, finite_number("coldness", coldness, least=0))

    def select(
        self, context: QueryContext, n: int, score: Score, *views: View, offset: float = 0.0
    ) -> Selection:
        """n unlabeled samples, chosen by their scores.

        The scores of the selection are those of the samples, or what ranks them with the noise.

        Args:
            context: what is there to choose from.
            n: how many; all of them when fewer are there.
            score: acquisition function, called with the views of a chunk of m samples; gives `(m,)`
                of at least -offset.
            views: what it needs to know.
            offset: what is added to a score for `power`, which takes numbers of at least 0.

        Raises:
            StrategyError: as `select_by_score` raises.
        """
        if self.form == "top":
            return select_by_score(context, n, score, *views)
        check_count(n)
        require_views(context.learner, views, "this query strategy")
        scored = ((at, score(*values)) for at, *values in context.stream(*views))
        return self.among(context, n, scored, offset=offset)

    def among(
        self,
        context: QueryContext,
        n: int,
        scored: Iterable[tuple[torch.Tensor, torch.Tensor]],
        *,
        offset: float = 0.0,
    ) -> Selection:
        """n of the samples that come with their scores, chosen as `select` does.

        Args:
            context: whose unlabeled samples they are.
            n: how many, at least 0.
            scored: indices `(m,)` and scores `(m,)`, chunk by chunk, in the order of the pool.
            offset: see `select`.

        Raises:
            StrategyError: scores are not one finite number per sample.
        """
        top = TopScores(min(n, len(context.unlabeled)))
        if top.n == 0:
            return top.selection()
        noise = Noise(context.generator)
        ranked: list[torch.Tensor] = []
        for indices, found in scored:
            scores = found.cpu()
            check_scores(scores, indices)
            if self.form == "softrank":
                ranked.append(scores.double())
                continue
            if self.form != "top":
                scores = self.coldness * self._key(scores.double(), offset)
                scores += noise.take(len(scores))
            top.offer(indices, scores)
        if ranked:
            # Ranks are known when all scores are: this form keeps a number for each sample.
            order = torch.cat(ranked).argsort(descending=True, stable=True)
            places = torch.arange(1, len(order) + 1, dtype=torch.float64)
            drawn = noise.take(len(order)).index_add(0, order, places.log(), alpha=-self.coldness)
            top.offer(context.unlabeled, drawn)
        return top.selection()

    def _key(self, scores: torch.Tensor, offset: float) -> torch.Tensor:
        if self.form == "softmax":
            return scores
        # A score of 0 counts as the smallest float there is: its logarithm must be finite.
        return (scores + offset).clamp_min(LEAST).log()


TOP = Batch()
"""The n highest."""


class Noise:
    """Standard Gumbel noise, the same numbers whatever the portions that are taken.

    Args:
        generator: where it comes from.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._left = torch.empty(0, dtype=torch.float64)

    def take(self, m: int) -> torch.Tensor:
        """The next m numbers `(m,)`, in float64."""
        parts = [self._left]
        missing = m - len(self._left)
        # Whole blocks always: what torch draws depends on how many are asked for at once.
        for _ in range(-(-missing // BLOCK)):
            uniform = torch.rand(BLOCK, dtype=torch.float64, generator=self._generator)
            parts.append(-(-uniform.clamp_min(LEAST).log()).log())
        found = torch.cat(parts)
        self._left = found[m:]
        return found[:m]
