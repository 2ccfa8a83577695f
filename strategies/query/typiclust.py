"""TypiClust: typical samples of clusters, for few labels.

Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets, Hacohen, Dekel and
Weinshall, 2022, arXiv:2202.02794.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import in_turn
from querist.strategies.geometry.kmeans import k_means
from querist.strategies.geometry.neighbours import k_nearest
from querist.strategies.geometry.points import Points
from querist.strategies.options import whole_number
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View

PER_CENTRE = 64
"""Points that a centre is found from: where its most typical sample is, all points say."""

GRADES = 2**18
"""How finely distances within a cluster are told apart; float32 has little more."""


@register("query", "typiclust")
class TypiClust:
    """The most typical sample of each cluster that has no label yet: for the first labels.

    There are as many clusters as labels, those of now and those that are wanted. Of the clusters
    without a label the largest comes first; a sample is the more typical, the nearer its neighbours
    within the cluster are. It asks for no prediction, so that it can choose the very first samples.

    Args:
        neighbours: how many nearest neighbours say how typical a sample is.
        max_clusters: more clusters are not made; then a cluster may give several samples.
        min_size: smaller clusters come last.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Hacohen, Dekel and Weinshall, Active Learning on a Budget: Opposite Strategies Suit "
        "High and Low Budgets, 2022, arXiv:2202.02794",
        needs=(View.FEATURES,),
        cost="n q d + n² d / q for q = k + l clusters, at most 500",
    )

    def __init__(
        self,
        neighbours: int = 20,
        max_clusters: int = 500,
        min_size: int = 5,
        space: str = "auto",
    ) -> None:
        self.neighbours = whole_number("neighbours", neighbours, least=1)
        self.max_clusters = whole_number("max_clusters", max_clusters, least=1)
        self.min_size = whole_number("min_size", min_size, least=1)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, those of the clusters with the fewest labels first; scores count down to 1."""
        check_count(n)
        unlabeled = len(context.unlabeled)
        n = min(n, unlabeled)
        if n == 0:
            return in_order(context, torch.empty(0, dtype=torch.int64))
        labeled = len(context.labeled.indices)
        known = self.space.of(context, context.labeled.indices) if labeled else None
        # Beside each other, and not in one tensor: the pool may lie in a mapped file.
        points = Points(self.space.all(context), known)
        wanted = min(n + labeled, self.max_clusters)
        clusters = k_means(points, wanted, context.generator, per_centre=PER_CENTRE)
        queues = self._queues(points, clusters.nearest.cpu(), unlabeled, n)
        return in_order(context, torch.tensor(in_turn(queues, n), dtype=torch.int64))

    def _queues(
        self, points: Points, cluster: torch.Tensor, unlabeled: int, n: int
    ) -> list[list[int]]:
        """Unlabeled positions of each cluster, the most typical first; the neediest cluster first.

        Args:
            points: unlabeled samples, then the labeled ones.
            cluster: of each point.
            unlabeled: how many points may be chosen.
            n: how many will be taken at most.
        """
        count = int(cluster.max()) + 1
        sizes = torch.bincount(cluster, minlength=count)
        free = torch.bincount(cluster[:unlabeled], minlength=count)
        labels = sizes - free
        members = cluster.argsort(stable=True).split(sizes.tolist())
        rank = sorted(
            (c for c in range(count) if free[c]),
            key=lambda c: (int(sizes[c]) < self.min_size, int(labels[c]), -int(sizes[c]), c),
        )
        # Each has at least one sample, so that n clusters are enough.
        return [self._by_typicality(points, members[c], unlabeled) for c in rank[:n]]

    def _by_typicality(self, points: Points, members: torch.Tensor, unlabeled: int) -> list[int]:
        """The unlabeled ones of `members` (ascending), the most typical first."""
        free = members[members < unlabeled]
        if len(free) == 1:
            return free.tolist()
        x = points.take(members)
        squared, _ = k_nearest(x, x[: len(free)], min(self.neighbours, len(members) - 1) + 1)
        # The nearest is the sample itself.
        distance = squared[:, 1:].sqrt().mean(1).cpu()
        # Of two neighbours of each other alone the first counts, and not how they are rounded.
        typical = (distance / distance.max().clamp_min(1e-12) * GRADES).round()
        return free[typical.argsort(stable=True)].tolist()
