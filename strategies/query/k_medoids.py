"""k-medoids: the samples to which all others are nearest.

Fast and Eager k-Medoids Clustering: O(k) Runtime Improvement of the PAM, CLARA, and CLARANS
Algorithms, Schubert and Rousseeuw, 2021, arXiv:2008.05171.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import at_most
from querist.strategies.geometry.coverage import LazyMaximum
from querist.strategies.geometry.points import Points, squared_distances
from querist.strategies.options import whole_number
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space, labeled_points
from querist.values import Selection
from querist.views import View

CANDIDATES = 4096
"""All of their distances are kept: 64 MB."""

TOGETHER = 64
"""Samples that are tried as medoids together; the best of them comes in."""

TOLERANCE = 1e-6
"""A swap has to save this share of the sum of distances, which is more than it is rounded by."""


@register("query", "k_medoids")
class KMedoids:
    """The n samples that make the sum of all distances to the nearest of them the smallest.

    Labeled samples count as medoids that stay. Medoids are samples, unlike centres, and distances
    are not squared, so that outliers matter less than for k-means. They are sought among a bounded
    number of samples, greedily at first, then by swaps until none helps. It asks for no prediction,
    so that it can choose the very first samples.

    Args:
        candidates: drawn where the pool has more; the square of it is the memory in floats, and n
            should be a small part of it.
        passes: how often all candidates are tried at most.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Schubert and Rousseeuw, Fast and Eager k-Medoids Clustering: O(k) Runtime "
        "Improvement of the PAM, CLARA, and CLARANS Algorithms, 2021, arXiv:2008.05171",
        needs=(View.FEATURES,),
        cost="m² (d + k) a pass for m candidates, at most 4,096",
    )

    def __init__(
        self, candidates: int = CANDIDATES, passes: int = 10, space: str = "auto"
    ) -> None:
        self.candidates = whole_number("candidates", candidates, least=1)
        self.passes = whole_number("passes", passes, least=0)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples, the medoid of most samples first; scores count down to 1."""
        check_count(n)
        size = len(context.unlabeled)
        n = min(n, size)
        drawn = at_most(size, max(self.candidates, n), context.generator)
        if n in (0, len(drawn)):
            return in_order(context, drawn[:n])
        points = Points(self.space.of(context, context.unlabeled[drawn]))
        x = points.take(torch.arange(len(drawn)))
        fixed = labeled_points(context, points, self.space)
        near = None if fixed is None else _nearest_distance(x, fixed)
        found = medoids(squared_distances(x, x).sqrt_(), n, near, passes=self.passes)
        return in_order(context, drawn[found.cpu()])


def _nearest_distance(x: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """From each row of `(m, d)` to the nearest of `(l, d)`: `(m,)`."""
    parts = [squared_distances(rows, others).amin(1).sqrt() for rows in x.split(TOGETHER)]
    return torch.cat(parts)


def medoids(
    distances: torch.Tensor, k: int, fixed: torch.Tensor | None = None, *, passes: int = 10
) -> torch.Tensor:
    """k of m samples `(k,)`, that with the most samples first; no swap of one makes them better.

    Args:
        distances: between all samples `(m, m)`, symmetric.
        k: how many medoids, less than m.
        fixed: distance of each sample to the nearest medoid that stays `(m,)`; None without any.
        passes: how often all samples are tried at most.
    """
    chosen = _greedy(distances, k, fixed)
    serving = _Serving(distances, chosen, fixed)
    for _ in range(passes):
        before = serving.swaps
        for begin in range(0, len(distances), TOGETHER):
            serving.try_swap(torch.arange(begin, min(begin + TOGETHER, len(distances))))
        if serving.swaps == before:
            break
    served = torch.bincount(serving.nearest, minlength=k + 1)[:k]
    return serving.chosen[served.argsort(descending=True, stable=True)]


def _greedy(distances: torch.Tensor, k: int, fixed: torch.Tensor | None) -> list[int]:
    """The medoids that each save the most, one after the other."""
    chosen: list[int] = []
    if fixed is None:
        chosen.append(int(distances.sum(1).argmin()))
        left = distances[chosen[0]].clone()
    else:
        left = fixed.clone()

    def saved(at: np.ndarray[Any, Any]) -> torch.Tensor:
        return (left - distances[torch.from_numpy(at)]).clamp_min_(0).sum(1)

    blocks = np.array_split(np.arange(len(distances)), 1 + len(distances) // TOGETHER)
    lazy = LazyMaximum(np.concatenate([saved(block).cpu().numpy() for block in blocks]), saved)
    for taken in chosen:
        lazy.remove(taken)
    while len(chosen) < k:
        best, _ = lazy.best()
        chosen.append(best)
        lazy.remove(best)
        torch.minimum(left, distances[best], out=left)
    return chosen


class _Serving:
    """Which medoid each sample is nearest to, and what another medoid would change."""

    def __init__(
        self, distances: torch.Tensor, chosen: list[int], fixed: torch.Tensor | None
    ) -> None:
        self.distances = distances
        self.chosen = torch.tensor(chosen, device=distances.device)
        self.swaps = 0
        infinite = torch.full_like(distances[0], torch.finfo(distances.dtype).max / 4)
        self._fixed = infinite if fixed is None else fixed
        self._look()

    def _look(self) -> None:
        """Each sample's nearest medoid, the distance to it and to the second nearest."""
        table = torch.cat([self.distances[self.chosen], self._fixed[None]])
        self.first, self.nearest = table.min(0)
        self.second = table.scatter_(0, self.nearest[None], torch.inf).amin(0)
        size = len(self.distances)
        self._serves = torch.zeros(size, len(self.chosen) + 1, device=table.device)
        self._serves[torch.arange(size, device=table.device), self.nearest] = 1

    def try_swap(self, candidates: torch.Tensor) -> None:
        """Let the best of some samples `(b,)` in for the medoid it replaces best, if that helps."""
        to = self.distances[candidates.to(self.distances.device)]
        with_it = torch.minimum(to, self.first)
        saved = (self.first - with_it).sum(1)
        # What is lost where a medoid goes, beside the newcomer: its samples' way to the next.
        lost = (torch.minimum(to, self.second) - with_it) @ self._serves
        change = lost[:, :-1] - saved[:, None]
        best = int(change.argmin())
        newcomer, leaver = divmod(best, change.shape[1])
        if float(change[newcomer, leaver]) < -TOLERANCE * float(self.first.sum()):
            self.chosen[leaver] = candidates[newcomer]
            self.swaps += 1
            self._look()
