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

from collections.abc import Iterator

import torch

from querist.strategies.geometry.centers import ROWS, Centers, coarse_type
from querist.strategies.geometry.factors import Factors
from querist.strategies.geometry.scaling import exact_scale, scaled
from querist.strategies.geometry.weights import Weights

BATCH = 256
"""Proposals whose distances are taken in one product."""

PROPOSAL = 3e6
"""What a proposal costs beside its distances, in operations of a matrix product (10 us of them)."""

DETOUR = 500
"""What a bound by two lengths costs, in operations of a matrix product."""

ROUNDED_UP = 1 + 1e-6
"""Makes a bound of what may have been rounded down."""


def kmeans_plus_plus(
    points: Factors,
    k: int,
    generator: torch.Generator,
    *,
    known: Factors | None = None,
    longest_first: bool = False,
) -> torch.Tensor:
    """Positions of k points, in the order drawn `(k,)`; each at most once.

    Where all points lie on one that is known or picked, the rest is drawn uniformly.

    Args:
        points: to draw from.
        k: how many; all when fewer are there.
        generator: of the draws.
        known: what is there already.
        longest_first: whether the first pick, where nothing is known, is the point farthest from
            the origin; default: it is drawn uniformly.
    """
    k = min(k, len(points))
    if k == 0:
        return torch.empty(0, dtype=torch.int64)
    search = _Draws(points, generator, known)
    if known is not None and len(known):
        search.start_at(known)
    elif longest_first:
        search.start_with_longest()
    else:
        search.start_with(int(torch.randint(len(points), (1,), generator=generator)))
    while len(search.positions) < k and search.weights.total > 0:
        search.draw(k - len(search.positions))
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
    """The weights that proposals are drawn by, and what was picked.

    Weights and lengths are on the CPU, wherever the points are. Distances are taken of points near
    1, so that their squares fit into their type.

    Args:
        points: to draw from.
        generator: of the draws.
        known: what is there already.
    """

    def __init__(
        self, points: Factors, generator: torch.Generator, known: Factors | None = None
    ) -> None:
        self.points, self.generator = points, generator
        self.scale = exact_scale(points.right, None if known is None else known.right)
        self.left_scale = exact_scale(points.left)
        self.origin: torch.Tensor | None = None
        if points.left is None:
            # Around the mean, products lose fewer digits to what all have in common.
            some = points.right[:: len(points) // 4096 + 1].to(points.kind)
            self.origin = scaled(some, self.scale).mean(0)
        self.lengths = torch.empty(len(points), dtype=points.kind)
        self.positions: list[int] = []
        self.refused = 0

    def start_at(self, known: Factors) -> None:
        """Some centres are there, and nothing is picked."""
        self._start(self.from_here(known), self.bounds(self.from_here(known)))

    def start_with(self, position: int) -> None:
        """One point is picked."""
        self.positions = [position]
        center = self.take(torch.tensor(self.positions))
        self._start(center, self.bounds(center))

    def start_with_longest(self) -> None:
        """The point farthest from the origin is picked, of equally far ones the first."""
        for _ in self.parts():
            pass
        position = int(self.lengths.argmax())
        self.positions = [position]
        # Not its products with all: that by way of the origin no point is farther will do.
        weights = (self.lengths + self.lengths[position]).square_().mul_(ROUNDED_UP)
        self._start(self.take(torch.tensor(self.positions)), weights)

    def _start(self, centers: Factors, weights: torch.Tensor) -> None:
        self.centers, self.renewed = centers, len(centers)
        self.weights = Weights(weights)
        picked = torch.tensor(self.positions, dtype=torch.int64)
        self.weights.put(picked, torch.zeros(len(picked)))
        self.reach = self.shortest = float(centers.squares().min()) ** 0.5

    def parts(self) -> Iterator[tuple[Factors, torch.Tensor]]:
        """All points and their squared lengths, part after part."""
        for begin in range(0, len(self.points), ROWS):
            part = self.take(slice(begin, begin + ROWS))
            squares = part.squares()
            self.lengths[begin : begin + ROWS] = squares.sqrt()
            yield part, squares

    def from_here(self, points: Factors) -> Factors:
        """Points in the type of distances, seen from the origin."""
        right = scaled(points.right.to(self.points.right.device, self.points.kind), self.scale)
        if self.origin is not None:
            return Factors(right - self.origin)
        left = points.left
        if left is not None:
            left = scaled(left.to(right), self.left_scale)
        return Factors(right, left)

    def take(self, positions: torch.Tensor | slice) -> Factors:
        """Some points."""
        if isinstance(positions, torch.Tensor):
            positions = positions.to(self.points.right.device)
        left = None if self.points.left is None else self.points.left[positions]
        return self.from_here(Factors(self.points.right[positions], left))

    def bounds(self, centers: Factors) -> torch.Tensor:
        """At least the squared distance of every point to the nearest of `centers` `(n,)`."""
        if self.origin is None:
            found = [_nearest(part, squares, centers).cpu() for part, squares in self.parts()]
            return torch.cat(found)
        kind = coarse_type(centers.right.device, len(self.points), len(centers))
        near = Centers.of(centers.right, coarse=kind)
        return torch.cat([near.bounds(part.right, squares).cpu() for part, squares in self.parts()])

    def draw(self, wanted: int) -> None:
        """Some proposals, of which up to `wanted` are accepted."""
        size = min(BATCH, 4 * wanted)
        at, weights = self.weights.propose(size, self.generator)
        chances = torch.rand(size, generator=self.generator, dtype=torch.float64)
        proposed = self.take(at)
        nearest = proposed.squared_distances(self.centers).amin(1).double().numpy(force=True)
        # What one accepted proposal is to the others, which were drawn before it was a centre.
        between = proposed.squared_distances(proposed).double().numpy(force=True)
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
            new = proposed.take(torch.tensor(accepted, device=proposed.right.device))
            self.centers = self.centers.join(new)
            self.shortest = min(self.shortest, float(new.squares().min()) ** 0.5)

    def renew_if_worth_it(self) -> None:
        """Lower all weights when refused proposals have cost as much."""
        width = self.points.width
        new = len(self.centers) - self.renewed
        cost = self.refused * (PROPOSAL + 2 * width * len(self.centers))
        if new and cost > 2 * len(self.points) * width * (new + 16):
            latest = self.centers.take(slice(self.renewed, None))
            self.weights.lower(self.bounds(latest))
            self.renewed, self.refused = len(self.centers), 0
        elif self.shortest < 0.9 * self.reach and cost > 2 * len(self.points) * DETOUR:
            # By way of the origin no point is farther from the shortest centre. Where most points
            # are short, as gradients of sure predictions are, that is most of what can be known.
            self.weights.lower((self.lengths + self.shortest).square_().mul_(ROUNDED_UP))
            self.reach = self.shortest


def _nearest(points: Factors, squares: torch.Tensor, centers: Factors) -> torch.Tensor:
    """Squared distances to the nearest of `centers` `(n,)`; `squares` are the points' lengths."""
    halves = centers.squares().div_(-2)
    nearness = points.products(centers).add_(halves).amax(1)
    return torch.sub(squares, nearness, alpha=2).clamp_min_(0)
