"""BAIT: the batch that leaves the least Fisher information of the pool unknown.

Ash, Goel, Krishnamurthy and Kakade, Gone Fishing: Neural Active Learning with Fisher Embeddings,
2021, arXiv:2106.09675.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import StrategyError
from querist.registry import register
from querist.strategies.drawing import at_most
from querist.strategies.options import finite_number, whole_number
from querist.strategies.query.fisher import (
    Design,
    Roots,
    add_fisher,
    factors,
    principal_directions,
    symmetric,
)
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views

MOST_WEIGHTS = 4096
"""Of the last layer: the Fisher matrix of so many takes 134 MB, and a few of them are held."""

MOST_NUMBERS = 2**28
"""Held of all candidates together: 2 GB."""


@register("query", "bait")
class Bait:
    """The batch after which the last layer's Fisher information is best known over the whole pool.

    It makes the trace of M⁻¹ F small, with F the Fisher information of the pool, and M that of the
    labeled and the chosen samples: more than n are taken greedily, then the least useful of them
    are dropped again.

    Args:
        oversample: how many times n are taken before some are dropped; 1 = none is dropped.
        ridge: added to the diagonal of M, as the precision of a prior would be; above 0.
        candidates: so many of the pool may be chosen, drawn at random; all of it has a say in F.
        dimensions: embeddings are first reduced to so many principal directions; None = as they
            are.
        space: `embeddings`, `features` (right for a linear model of the features) or `auto`, which
            is embeddings where the learner has them.
    """

    about = About(
        paper="Ash, Goel, Krishnamurthy and Kakade, Gone Fishing: Neural Active Learning with "
        "Fisher Embeddings, 2021, arXiv:2106.09675",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c² d² + c³ d³ + k (c² d² + m c² d + m c³), m candidates",
    )

    def __init__(
        self,
        oversample: float = 2.0,
        ridge: float = 1.0,
        candidates: int = 10_000,
        dimensions: int | None = None,
        space: str = "auto",
    ) -> None:
        self.oversample = finite_number("oversample", oversample, least=1)
        self.ridge = finite_number("ridge", ridge, least=1e-6)
        self.candidates = whole_number("candidates", candidates, least=1)
        self.dimensions = (
            None if dimensions is None else whole_number("dimensions", dimensions, least=1)
        )
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n samples, in the order in which they were taken.

        Raises:
            StrategyError: the last layer has too many weights, the candidates take too much
                memory, or the samples are too large for double precision.
        """
        check_count(n)
        require_views(context.learner, self.needs, "bait")
        n = min(n, len(context.unlabeled))
        if n == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        try:
            return in_order(context, self._batch(context, view, n))
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise StrategyError(
                f"bait cannot invert the Fisher matrix of {view} this large or this alike in "
                f"double precision, with a ridge of {self.ridge:g}: scale them to a variance of "
                "about 1, or set ridge higher"
            ) from error

    def _batch(self, context: QueryContext, view: View, n: int) -> torch.Tensor:
        """Positions of the n samples, in the order in which they were taken `(n,)`."""
        size = len(context.unlabeled)
        directions = self._directions(context, view, n)
        known, fisher = self._information(context, view, directions)
        positions = at_most(size, max(n, self.candidates), context.generator)
        roots = self._roots(context, view, directions, positions)
        design = Design(known, fisher, roots)
        taken = [design.take() for _ in range(min(len(positions), round(self.oversample * n)))]
        while len(taken) > n:
            taken.remove(design.drop(taken))
        return positions[torch.tensor(taken)]

    def _directions(self, context: QueryContext, view: View, n: int) -> torch.Tensor | None:
        """What embeddings are multiplied with `(d, dimensions)`; None = nothing."""
        first = context.unlabeled[:1]
        proba, inputs = context.look(first, View.PROBABILITIES, view)
        d = inputs.shape[1] if self.dimensions is None else min(self.dimensions, inputs.shape[1])
        outputs = 1 if proba.shape[1] <= 2 else proba.shape[1]
        if outputs * d > MOST_WEIGHTS:
            raise StrategyError(
                f"bait holds the Fisher matrix of at most {MOST_WEIGHTS:,} weights, and {outputs} "
                f"classes times {d} numbers of an embedding are {outputs * d:,}: set dimensions to "
                f"{max(1, MOST_WEIGHTS // outputs)} or less"
            )
        held = d + 3 * outputs**2
        candidates = min(max(n, self.candidates), len(context.unlabeled))
        if held * candidates > MOST_NUMBERS:
            raise StrategyError(
                f"bait holds {held:,} numbers of each candidate, and those of "
                f"{candidates:,} candidates are more than {MOST_NUMBERS:,}: set candidates to "
                f"{MOST_NUMBERS // held:,} or less, and ask for no more samples than that"
            )
        if d == inputs.shape[1]:
            return None
        return principal_directions((x for _, x in context.stream(view)), d)

    def _information(
        self, context: QueryContext, view: View, directions: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """M of the labeled samples with its ridge, and F of the pool; both `(P, P)`."""
        fisher = known = None
        for _, proba, inputs in context.stream(View.PROBABILITIES, view):
            fisher = add_fisher(fisher, *factors(proba, inputs, directions))
        for indices in context.labeled.indices.split(context.chunk_size):
            if not len(indices):  # nothing is labeled: the only part is empty
                break
            proba, inputs = context.look(indices, View.PROBABILITIES, view)
            known = add_fisher(known, *factors(proba, inputs, directions))
        assert fisher is not None
        pool = symmetric(fisher)
        ridge = self.ridge * torch.eye(len(pool), dtype=pool.dtype, device=pool.device)
        return (ridge if known is None else symmetric(known) + ridge), pool

    def _roots(
        self,
        context: QueryContext,
        view: View,
        directions: torch.Tensor | None,
        positions: torch.Tensor,
    ) -> Roots:
        """The factors of the candidates."""
        chosen = replace(context, unlabeled=context.unlabeled[positions])
        parts = [
            factors(proba, inputs, directions)
            for _, proba, inputs in chosen.stream(View.PROBABILITIES, view)
        ]
        roots, x = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return Roots(roots, x)
