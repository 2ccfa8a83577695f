"""Cluster-Margin: small margins from all of many clusters, the small ones first.

Batch Active Learning at Scale, Citovsky, DeSalvo, Gentile, Karydas, Rajagopalan, Rostamizadeh and
Kumar, 2021, arXiv:2107.14263.
"""

from __future__ import annotations

import torch
from scipy.cluster.hierarchy import fcluster, linkage

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import at_most, in_turn
from querist.strategies.geometry.neighbours import k_nearest
from querist.strategies.geometry.points import Points
from querist.strategies.options import candidates_factor, whole_number
from querist.strategies.query.margin import margin_scores
from querist.strategies.query.scoring import check_count, select_by_probability
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View

CLUSTERED = 4000
"""So many samples are merged one by one, which takes 64 MB; more join the nearest of them."""


@register("query", "cluster_margin")
class ClusterMargin:
    """Of the samples with the smallest margins a random one of each cluster, in turn.

    The clusters are those of hierarchical clustering with average linkage; a turn begins with the
    smallest cluster, so that rare kinds of samples are all taken. The paper clusters the whole pool
    once; here only candidates are, by what the learner makes of them now.

    Args:
        candidates: how many times n the smallest margins are looked at; 1 is margin sampling.
        clusters: into how many the candidates are put; null for as many as are wanted.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Citovsky et al., Batch Active Learning at Scale, 2021, arXiv:2107.14263",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c + m² d for m candidates, at most 4,000",
    )

    def __init__(
        self, candidates: float = 3, clusters: int | None = None, space: str = "auto"
    ) -> None:
        self.candidates = candidates_factor("candidates", candidates)
        self.clusters = None if clusters is None else whole_number("clusters", clusters, least=1)
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, the smallest margin first; the scores are minus the margins."""
        check_count(n)
        uncertain = select_by_probability(context, int(self.candidates * n), margin_scores)
        n = min(n, len(uncertain))
        if n in (0, len(uncertain)):
            return uncertain
        values = self.space.of(context, torch.tensor(uncertain.indices))
        cluster = agglomerated(values, self.clusters or n, context.generator)
        picks = sorted(round_robin(cluster, n, context.generator))
        return Selection(
            tuple(uncertain.indices[pick] for pick in picks),
            tuple(uncertain.scores[pick] for pick in picks),
        )


def agglomerated(
    values: torch.Tensor, clusters: int, generator: torch.Generator
) -> torch.Tensor:
    """At most `clusters` clusters of samples by average linkage: `(m, d)` -> numbers `(m,)`.

    Above 4,000 samples, so many are drawn, and each other one joins the nearest of them.
    """
    points = Points(values)
    size = len(points)
    if size == 1:
        return torch.zeros(1, dtype=torch.int64)
    drawn = at_most(size, CLUSTERED, generator)
    x = points.take(drawn)
    merged = linkage(x.double().cpu().numpy(), method="average")
    found = torch.from_numpy(fcluster(merged, clusters, criterion="maxclust")).long() - 1
    if size == len(drawn):
        return found
    _, nearest = k_nearest(x, points.take(torch.arange(size)), 1)
    return found[nearest[:, 0].cpu()]


def round_robin(cluster: torch.Tensor, n: int, generator: torch.Generator) -> list[int]:
    """n positions: a random one of each cluster, the smallest cluster first, until it is enough.

    Args:
        cluster: of each sample `(m,)`.
        n: how many, at most m.
        generator: draws within clusters.
    """
    shuffled = torch.randperm(len(cluster), generator=generator)
    queues: dict[int, list[int]] = {}
    for position in shuffled.tolist():
        queues.setdefault(int(cluster[position]), []).append(position)
    # Of clusters of one size the one with the smallest margin first.
    order = sorted(queues.values(), key=lambda queue: (len(queue), min(queue)))
    return in_turn(order, n)
