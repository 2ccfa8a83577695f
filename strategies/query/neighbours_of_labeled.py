"""Only what is near to something labeled is a candidate.

Similarity Search for Efficient Active Learning and Search of Rare Concepts, Coleman, Chou,
Katz-Samuels, Culatana, Bailis, Berg, Nowak, Sumbaly, Zaharia and Yalniz, 2022 (AAAI),
arXiv:2007.00077.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.protocols import Pool
from querist.registry import register
from querist.strategies.geometry.approximate import ApproximateNeighbours, import_faiss
from querist.strategies.geometry.neighbours import k_nearest
from querist.strategies.geometry.points import Points
from querist.strategies.options import one_of, whole_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_nested,
    choose,
)
from querist.strategies.query.scoring import check_count
from querist.values import Selection
from querist.views import View, flattened, require_views

INDICES = ("auto", "exact", "approximate")
EXACT = 100_000
"""Samples of a pool up to which `auto` compares all of them."""

QUERIES = 1024
"""Labeled samples whose neighbours are looked for at a time."""


@register("query", "neighbours_of_labeled")
class NeighboursOfLabeled(MadeOfOthers):
    """Another strategy's choice from the nearest unlabeled neighbours of the labeled samples.

    The learner is asked about these candidates alone, so that an iteration costs as much for a pool
    of 10^9 as for one of 10^6. Neighbours are by the pool's features: let the pool hold what a
    pretrained model makes of the samples. Where there are too few candidates, more neighbours of
    each are taken; before anything is labeled, all samples are candidates.

    Args:
        strategy: the query strategy, `{name: ..., options: {...}}`.
        k: how many neighbours of each labeled sample are candidates.
        index: `exact` compares with all unlabeled samples; `approximate` with those of some lists
            of an index by faiss (`pip install 'querist[neighbours]'`), which is built once and kept
            in the run's work folder; `auto` is exact for pools of up to 100,000 samples.
        probes: how many lists of the index are looked into; more find more of the true neighbours.
    """

    about = About(
        paper="Coleman et al., Similarity Search for Efficient Active Learning and Search of Rare "
        "Concepts, 2022, AAAI, arXiv:2007.00077",
        needs=(),
        cost="l sqrt(n) d (exact: l n d), and its strategy's for at most k candidates a label",
    )

    def __init__(
        self,
        strategy: str | Mapping[str, Any] = "margin",
        k: int = 100,
        index: str = "auto",
        probes: int = 16,
    ) -> None:
        self.k = whole_number("k", k, least=1)
        self.index = one_of("index", index, INDICES)
        self.probes = whole_number("probes", probes, least=1)
        if self.index == "approximate":
            import_faiss()
        super().__init__([build_nested("neighbours_of_labeled", strategy)])
        self._folder: Path | None = None
        self._built: tuple[Pool, ApproximateNeighbours] | None = None

    def work_in(self, folder: Path) -> None:
        """Where the index is kept."""
        self._folder = folder

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the strategy chooses from the candidates, with its scores.

        Raises:
            ConfigurationError: the pool is large, and faiss is not installed.
        """
        check_count(n)
        require_views(context.learner, self.needs, "neighbours_of_labeled")
        if 0 < n < len(context.unlabeled) and len(context.labeled):
            context = among(context, self.candidates(context, n))
        return choose("neighbours_of_labeled", self.strategies[0], context, n)

    def candidates(self, context: QueryContext, n: int) -> torch.Tensor:
        """Unlabeled samples that are near to a labeled one, at least n, ascending."""
        size = _size(context.pool)
        exact = self.index == "exact" or (self.index == "auto" and size <= EXACT)
        near = self._exact if exact else self._approximate
        queries = context.of_labeled(View.FEATURES)
        k = self.k
        while k < len(context.unlabeled):
            found = near(context, queries, k)
            if len(found) >= n:
                return found
            k *= 2
        return context.unlabeled

    def _exact(self, context: QueryContext, queries: torch.Tensor, k: int) -> torch.Tensor:
        points = Points(context.gather(View.FEATURES))
        everything = points.rows(0, len(points))
        at = [k_nearest(everything, points.moved(q), k)[1].unique() for q in queries.split(QUERIES)]
        return context.unlabeled[torch.cat(at).unique().cpu()]

    def _approximate(self, context: QueryContext, queries: torch.Tensor, k: int) -> torch.Tensor:
        index = self._index_of(context.pool, queries.shape[1])
        # What strategies and pools made on the way came after the index: always a candidate.
        made = context.unlabeled[torch.searchsorted(context.unlabeled, index.size) :]
        parts = [
            index.nearest(q, k, context.unlabeled, self.probes).unique()
            for q in queries.split(QUERIES)
        ]
        found: torch.Tensor = torch.cat([*parts, made]).unique()
        return found[found >= 0]

    def _index_of(self, pool: Pool, width: int) -> ApproximateNeighbours:
        if self._built is None or self._built[0] is not pool:
            size = _size(pool)
            folder = None
            if self._folder is not None:
                folder = self._folder / f"neighbours-{size}x{width}"
            built = ApproximateNeighbours(lambda i: flattened(pool.features(i)), size, folder)
            self._built = pool, built
        return self._built[1]


def _size(pool: Pool) -> int:
    """How many samples a pool had from the start, without those made on the way."""
    return int(getattr(pool, "made_from", len(pool)))
