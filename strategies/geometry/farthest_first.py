"""Farthest-first traversal, exact: each pick is the candidate farthest from all that came before.

Clustering to minimize the maximum intercluster distance, Gonzalez, 1985,
doi:10.1016/0304-3975(85)90224-5.

The plain way updates all n distances at every pick. But distances to the nearest centre only fall,
so that an old one, or one that is only bounded from above, says of most candidates that they are
not the next. One pass in coarse numbers bounds all. Then exact distances are taken of the
candidates with the highest bounds, picks are made among them as long as they are farther than all
other bounds, and others that are within reach by then are taken in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from querist.strategies.geometry.centers import ROWS, Centers, coarse_type
from querist.strategies.geometry.scaling import exact_scale, scaled

HOT = 4096
"""Candidates whose distances are exact at a time, so that a pick updates them in cache."""

SURFACING = 4
"""So many times more have their bounds renewed first."""


@dataclass(frozen=True)
class Picks:
    """What was picked, in this order.

    Attributes:
        positions: among the candidates `(k,)`.
        distances: to the nearest of what was known and picked before `(k,)`, which fall; infinite
            for the first where nothing was known.
    """

    positions: torch.Tensor
    distances: torch.Tensor


def farthest_first(
    candidates: torch.Tensor,
    k: int,
    *,
    known: torch.Tensor | None = None,
    distances: torch.Tensor | None = None,
    first: int = 0,
) -> Picks:
    """The k candidates that one after the other are farthest from what is known and picked.

    Of equally far ones the lower position comes first. Numbers are float64 where the candidates
    are, and float32 where not.

    Args:
        candidates: `(n, d)`; may lie in a mapped file.
        k: how many; all when fewer are there.
        known: what is there already `(m, d)`.
        distances: of the candidates to the nearest of what else is there already `(n,)`.
        first: the position of the first pick where nothing is known.
    """
    search = _Search(candidates, min(k, len(candidates)), known, distances)
    if search.k == 0:
        return search.picks()
    if not search.count and distances is None:
        search.pick(first, torch.inf)
    search.bound_all()
    hot = HOT
    while search.left:
        before = search.left
        search.round(hot)
        if before - search.left < hot // 64:
            hot *= 2
    return search.picks()


class _Search:
    """Bounds of all candidates' squared distances, and which centres they know of.

    All is scaled by a power of two, so that squares fit into the type of distances.
    """

    def __init__(
        self,
        candidates: torch.Tensor,
        k: int,
        known: torch.Tensor | None,
        distances: torch.Tensor | None,
    ) -> None:
        n, width = candidates.shape
        kind = torch.float64 if candidates.dtype is torch.float64 else torch.float32
        self.candidates, self.k = candidates, k
        self.scale = exact_scale(candidates, known, distances)
        # Around the mean, products lose fewer digits to what all have in common.
        self.origin = scaled(candidates[:: n // 4096 + 1].to(kind), self.scale).mean(0)
        known = candidates[:0] if known is None else known
        self.count = len(known)
        self.centers = self.origin.new_empty(self.count + k, width)
        self.centers[: self.count] = scaled(known.to(self.origin), self.scale) - self.origin
        self.squares = self.origin.new_empty(n)
        self.bounds = self.origin.new_full((n,), torch.inf)
        if distances is not None:
            self.bounds.copy_(scaled(distances, self.scale)).square_()
        self.given = None if distances is None else self.bounds.clone()
        self.exact = torch.zeros(n, dtype=torch.bool, device=candidates.device)
        self.seen = torch.zeros(n, dtype=torch.int64, device=candidates.device)
        """How many centres a bound knows of."""
        self.positions: list[int] = []
        self.distances: list[float] = []

    @property
    def left(self) -> int:
        """How many are still to be picked."""
        return self.k - len(self.positions)

    def picks(self) -> Picks:
        device = self.bounds.device
        distances = torch.tensor(self.distances, dtype=self.bounds.dtype, device=device)
        return Picks(torch.tensor(self.positions, dtype=torch.int64, device=device), distances)

    def rows(self, positions: torch.Tensor | slice) -> torch.Tensor:
        return scaled(self.candidates[positions].to(self.origin.dtype), self.scale) - self.origin

    def pick(self, position: int, square: float) -> None:
        self.positions.append(position)
        self.distances.append(square**0.5 / self.scale)
        self.centers[self.count] = self.rows(slice(position, position + 1))[0]
        self.count += 1
        self.bounds[position] = -1
        self.exact[position] = True  # so that no distance is put in its place

    def bound_all(self) -> None:
        """One pass over all candidates."""
        known = None
        if self.count:
            kind = coarse_type(self.bounds.device, len(self.candidates), self.count)
            known = Centers.of(self.centers[: self.count], coarse=kind)
        for begin in range(0, len(self.candidates), ROWS):
            part = slice(begin, begin + ROWS)
            rows = self.rows(part)
            squares = rows.square().sum(1)
            self.squares[part] = squares
            if known is not None:
                bounds = self.bounds[part]
                torch.minimum(bounds, known.bounds(rows, squares), out=bounds)
        for position in self.positions:
            self.bounds[position] = -1
        self.seen.fill_(self.count)

    def round(self, hot: int) -> None:
        """Pick among the candidates with the highest bounds while no other can be farther."""
        top = int(self.bounds.argmax())
        if self.exact[top] and self.seen[top] == self.count:
            # Nothing to find out: the first of the highest bounds is a distance.
            self.pick(top, float(self.bounds[top]))
            return
        surfaced = self.bounds.topk(min(SURFACING * hot, len(self.bounds)))
        outside = -1.0 if len(surfaced.values) == len(self.bounds) else float(surfaced.values[-1])
        self.refresh(surfaced.indices)
        order = self.bounds[surfaced.indices].argsort(descending=True)
        highest = surfaced.indices[order]
        inside = highest[:hot].sort().values
        if len(highest) > hot:
            outside = max(outside, float(self.bounds[highest[hot]]))
        self.settle(inside)
        self.pick_among(inside, outside)

    def refresh(self, positions: torch.Tensor) -> None:
        """Let bounds know of the centres that came after them."""
        stale = positions[self.seen[positions] < self.count]
        self._apply(stale[self.exact[stale]], exact=True)
        self._apply(stale[~self.exact[stale]], exact=False)

    def settle(self, positions: torch.Tensor) -> None:
        """Make bounds distances."""
        rough = positions[~self.exact[positions]]
        if not len(rough):
            return
        self.bounds[rough] = torch.inf if self.given is None else self.given[rough]
        self.seen[rough] = 0
        self._apply(rough, exact=True)
        self.exact[rough] = True

    def _apply(self, positions: torch.Tensor, *, exact: bool) -> None:
        if not len(positions) or not self.count:
            return
        new = self.centers[int(self.seen[positions].min()) : self.count]
        centers = Centers.of(new, coarse=coarse_type(new.device, len(positions), len(new)))
        measure = centers.distances if exact else centers.bounds
        for part in positions.split(ROWS):
            found = measure(self.rows(part), self.squares[part])
            self.bounds[part] = torch.minimum(self.bounds[part], found)
        self.seen[positions] = self.count

    def pick_among(self, positions: torch.Tensor, outside: float) -> None:
        """Pick while the farthest of `positions` (ascending) is farther than `outside`."""
        rows, squares = self.rows(positions), self.squares[positions]
        distances = self.bounds[positions]
        while self.left:
            farthest, at = distances.max(0)
            square = float(farthest)
            if square <= outside:
                break
            self.pick(int(positions[at]), square)
            center = self.centers[self.count - 1]
            new = torch.addmv(squares + center @ center, rows, center, alpha=-2).clamp_min_(0)
            torch.minimum(distances, new, out=distances)
            distances[at] = -1
        self.bounds[positions] = distances
        self.seen[positions] = self.count
