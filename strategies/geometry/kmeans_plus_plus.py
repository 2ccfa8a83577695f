"""Draws by squared distance, exact: the seeding of k-means++.

k-means++: The Advantages of Careful Seeding, Arthur and Vassilvitskii, 2007, SODA,
http://ilpubs.stanford.edu:8090/778/.

Each pick is drawn with a probability proportional to its squared distance from what is known and
picked. The plain way updates all n distances at every pick. But they only fall, so that old ones,
or bounds from above, are weights to propose by: a proposal is accepted with the probability
distance / weight, which makes the draws exactly those of the plain way. Distances of proposals are
all that a pick needs. When so many were refused that all weights could have been renewed for their
price, all are.
"""

from __future__ import annotations

import torch

from querist.strategies.geometry.centers import ROWS, Centers, multiplies_bfloat16_fast
from querist.strategies.geometry.points import Points
from querist.strategies.geometry.weights import Weights

BATCH = 256
"""Proposals whose distances are taken in one product."""

PROPOSAL = 3e6
"""What a proposal costs beside its distances, in operations of a matrix product (10 us of them)."""


def kmeans_plus_plus(
    points: Points,
    k: int,
    generator: torch.Generator,
    *,
    known: Points | None = None,
    first: int | None = None,
) -> torch.Tensor:
    """Positions of k points, in the order drawn `(k,)`; each at most once.

    Where all points lie on one that is known or picked, the rest is drawn uniformly.

    Args:
        points: to draw from.
        k: how many; all when fewer are there.
        generator: of the draws.
        known: what is there already.
        first: the first pick where nothing is known; default: drawn uniformly.
    """
    k = min(k, len(points))
    if k == 0:
        return torch.empty(0, dtype=torch.int64)
    if known is None or not len(known):
        if first is None:
            first = int(torch.randint(len(points), (1,), generator=generator))
        search = _Draws(points, points.take(torch.tensor([first])), [first])
    else:
        search = _Draws(points, known.take(slice(None)), [])
    while len(search.positions) < k and search.weights.total > 0:
        search.draw(k - len(search.positions), generator)
        search.renew_if_worth_it()
    return _and_others(search.positions, len(points), k, generator)


def _and_others(picked: list[int], n: int, k: int, generator: torch.Generator) -> torch.Tensor:
    positions = torch.tensor(picked, dtype=torch.int64)
    if len(picked) == k:
        return positions
    others = torch.ones(n, dtype=torch.bool)
    others[positions] = False
    left = others.nonzero()[:, 0]
    drawn = torch.randperm(len(left), generator=generator)[: k - len(picked)]
    return torch.cat([positions, left[drawn]])


class _Draws:
    """Points, the weights that proposals are drawn by, and what was picked.

    Args:
        points: to draw from.
        centers: what is there already, some of it picked.
        picked: positions of what is picked.
    """

    def __init__(self, points: Points, centers: Points, picked: list[int]) -> None:
        self.origin: torch.Tensor | None = None
        if points.left is None:
            # Around the mean, products lose fewer digits to what all have in common.
            self.origin = points.right[:: len(points) // 4096 + 1].to(points.kind).mean(0)
            centers = centers.less(self.origin)
        self.points, self.centers, self.positions = points, centers, picked
        self.weights = Weights(self.bounds(centers))
        self.renewed = len(centers)
        self.refused = 0
        for position in picked:
            self.weights.put(torch.tensor([position]), torch.zeros(1))

    def take(self, positions: torch.Tensor | slice) -> Points:
        if self.origin is None:
            return self.points.take(positions)
        return Points(self.points.right[positions]).less(self.origin)

    def bounds(self, centers: Points) -> torch.Tensor:
        """At least the squared distance of every point to the nearest of `centers` `(n,)`."""
        fast = self.origin is not None and multiplies_bfloat16_fast(self.points.right.device)
        coarse = torch.bfloat16 if fast else torch.float32
        near = Centers.of(centers.right, coarse=coarse) if self.origin is not None else None
        parts = []
        for begin in range(0, len(self.points), ROWS):
            part = self.take(slice(begin, begin + ROWS))
            if near is not None:
                parts.append(near.bounds(part.right, part.squares()))
            else:
                parts.append(_nearest(part, centers))
        return torch.cat(parts)

    def draw(self, wanted: int, generator: torch.Generator) -> None:
        """Some proposals, of which up to `wanted` are accepted."""
        size = min(BATCH, 4 * wanted)
        at, weights = self.weights.propose(size, generator)
        chances = torch.rand(size, generator=generator, dtype=torch.float64)
        proposed = self.take(at)
        nearest = proposed.squared_distances(self.centers).amin(1).double().numpy()
        # What one accepted proposal is to the others, which were drawn before it was a centre.
        between = proposed.squared_distances(proposed).double().numpy()
        limits = (chances * weights.double()).numpy()
        accepted: list[int] = []
        for number in range(size):
            if limits[number] < nearest[number]:
                accepted.append(number)
                nearest = between[number].clip(max=nearest)
                # A position may have been proposed twice, and is picked once.
                nearest[(at == at[number]).numpy()] = 0
                if len(accepted) == wanted:
                    break
        self.refused += size - len(accepted)
        self.weights.put(at, torch.from_numpy(nearest).minimum(weights.double()))
        if accepted:
            self.positions += at[accepted].tolist()
            self.centers = self.centers.join(proposed.take(torch.tensor(accepted)))

    def renew_if_worth_it(self) -> None:
        """Take all distances anew when refused proposals have cost as much."""
        new = len(self.centers) - self.renewed
        width = self.points.width
        renewal = 2 * len(self.points) * width * (new + 16)
        if new and self.refused * (PROPOSAL + 2 * width * len(self.centers)) > renewal:
            latest = self.centers.take(slice(self.renewed, None))
            self.weights.lower(self.bounds(latest))
            self.renewed, self.refused = len(self.centers), 0


def _nearest(points: Points, centers: Points) -> torch.Tensor:
    """Squared distances to the nearest of `centers` `(n,)`."""
    halves = centers.squares().div_(-2)
    nearness = points.products(centers).add_(halves).amax(1)
    return points.squares().sub_(nearness, alpha=2).clamp_min_(0)
