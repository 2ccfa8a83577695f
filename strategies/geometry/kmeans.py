"""Weighted k-means, the same for the same generator.

Least Squares Quantization in PCM, Lloyd, 1982, doi:10.1109/TIT.1982.1056489; seeds by k-means++:
The Advantages of Careful Seeding, Arthur and Vassilvitskii, 2007, the greedy form, which draws some
candidates for each seed and keeps the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from querist.strategies.drawing import at_most
from querist.strategies.geometry.points import ROWS, Points, squares

PER_CENTRE = 256
"""Centres are found from so many points for each; more hardly move them, and cost time."""

ITERATIONS = 30
TOLERANCE = 1e-4
"""Enough when the sum of squares falls by less than this share of it."""


@dataclass(frozen=True)
class Clusters:
    """Centres, and which one each point is nearest to.

    Attributes:
        centres: in the coordinates of `Points` `(k, d)`.
        nearest: the cluster of each point `(n,)`.
        squared: squared distance of each point to that centre `(n,)`.
    """

    centres: torch.Tensor
    nearest: torch.Tensor
    squared: torch.Tensor

    def sizes(self) -> torch.Tensor:
        """Points of each cluster `(k,)`."""
        return torch.bincount(self.nearest, minlength=len(self.centres))

    def closest(self) -> torch.Tensor:
        """Of each cluster that is not empty the point nearest to its centre, `(at most k,)`.

        In the order of clusters; of points that are equally near the first.
        """
        nearest, squared = self.nearest.cpu().numpy(), self.squared.cpu().numpy()
        order = np.lexsort((squared, nearest))  # stable: equal ones stay in their order
        _, first = np.unique(nearest[order], return_index=True)
        return torch.from_numpy(order[first])


def k_means(
    points: Points,
    k: int,
    generator: torch.Generator,
    weights: torch.Tensor | None = None,
    *,
    per_centre: int = PER_CENTRE,
) -> Clusters:
    """At most k clusters; fewer where there are fewer points.

    Costs `k d` for each of `per_centre` k points (at most n) and each of up to 30 iterations, and
    for each of the n points once.

    Args:
        points: what is clustered.
        k: how many clusters, at least 1.
        generator: draws the seeds.
        weights: of the points `(n,)`, at least 0; default: all alike.
        per_centre: how many points for each centre it is found from, drawn where there are more.
    """
    n = len(points)
    k = min(k, n)
    drawn = at_most(n, per_centre * k, generator)
    x = points.take(drawn)
    w = torch.ones(len(x), device=x.device)
    if weights is not None and bool((weights > 0).any()):
        w = weights.to(x.device)[drawn.to(x.device)].float()
        w = w / w.max() if bool((w > 0).any()) else torch.ones_like(w)
    centres = _lloyd(x, w, x[seeds(x, k, generator, w)])
    nearest = torch.empty(n, dtype=torch.int64, device=x.device)
    squared = torch.empty(n, device=x.device)
    for begin, end, rows in points.chunks():
        nearest[begin:end], squared[begin:end] = nearest_centre(rows, centres)
    return Clusters(centres, nearest, squared)


def nearest_to_centres(clusters: Clusters, n: int) -> torch.Tensor:
    """n different points `(n,)`: the nearest to each centre, of those that belong to it.

    Where clusters are empty, the points that are farthest from their centres make up for them.
    """
    picks = clusters.closest()
    missing = n - len(picks)
    if missing > 0:
        far = clusters.squared.cpu().clone()
        far[picks] = -1.0
        picks = torch.cat([picks, far.argsort(descending=True, stable=True)[:missing]])
    return picks


def seeds(
    x: torch.Tensor, k: int, generator: torch.Generator, weights: torch.Tensor
) -> torch.Tensor:
    """Different positions `(k,)`, each drawn with probability weight times squared distance.

    Of 2 + ln k that are drawn, the one that leaves the smallest weighted sum of squares is taken.
    Where all that is left has no weight or lies on a seed, the first of the others.
    """
    trials = 2 + int(math.log(k))
    lengths = squares(x)
    columns = x.T.contiguous()  # some rows times all columns is half as slow as times all rows
    left = torch.full((len(x),), math.inf, device=x.device)
    taken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    found: list[int] = []
    mass = weights
    while len(found) < k:
        cumulated = mass.double().cpu().cumsum(0)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64) * cumulated[-1]
        if float(cumulated[-1]) > 0:
            at = torch.searchsorted(cumulated, draws, right=True).clamp_max(len(x) - 1)
        else:
            at = (~taken).to(torch.uint8).argmax()[None].cpu()
        at = at.to(x.device)
        new = torch.addmm(lengths[at][:, None], x[at], columns, alpha=-2)
        new = torch.minimum(new.add_(lengths).clamp_min_(0), left)
        best = int((new @ weights).argmin())
        left = new[best]
        chosen = int(at[best])
        found.append(chosen)
        taken[chosen] = True
        left[chosen] = 0.0  # rounding may leave a trace of distance to itself
        mass = left * weights
    return torch.tensor(found, device=x.device)


def nearest_centre(x: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest of `(k, d)` for each row of `(m, d)`, and its squared distance, both `(m,)`."""
    lengths = squares(centres)[:, None]
    # Centres by rows: the smallest of each column is found several times as fast as of each row.
    found = [torch.addmm(lengths, centres, rows.T, alpha=-2).min(0) for rows in x.split(ROWS)]
    lowest, at = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
    return at, lowest.add_(squares(x)).clamp_min_(0)


def _lloyd(x: torch.Tensor, weights: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    before = math.inf
    for _ in range(ITERATIONS):
        nearest, squared = nearest_centre(x, centres)
        cost = squared * weights
        total = float(cost.sum())
        totals, heavy = _weighted_sums(x, weights, nearest, len(centres))
        empty = heavy == 0
        moved = torch.where(empty[:, None], centres, totals / heavy.clamp_min(1e-30)[:, None])
        if bool(empty.any()):
            # An empty cluster begins anew at the point that is served worst, if one is.
            worst = cost.argsort(descending=True, stable=True)[: int(empty.sum())]
            worst = worst[cost[worst] > 0]
            moved[empty.nonzero()[: len(worst), 0]] = x[worst]
            if len(worst):
                centres, before = moved, math.inf
                continue
        centres = moved
        if before - total <= TOLERANCE * total:
            break
        before = total
    return centres


def _weighted_sums(
    x: torch.Tensor, weights: torch.Tensor, cluster: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the points of each cluster `(k, d)`, and of their weights `(k,)`, in fixed order."""
    order = cluster.argsort(stable=True)
    sizes = torch.bincount(cluster, minlength=k)
    begins = sizes.cumsum(0) - sizes
    ordered = weights[order]
    total = F.embedding_bag(order, x, begins, mode="sum", per_sample_weights=ordered)
    heavy = F.embedding_bag(order, weights[:, None], begins, mode="sum")
    return total, heavy[:, 0]
