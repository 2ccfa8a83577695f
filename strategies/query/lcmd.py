"""LCMD: the farthest sample of the cluster that most is left in.

Holzmüller, Zaverkin, Kästner and Steinwart, A Framework and Benchmark for Deep Batch Active
Learning for Regression, 2023, arXiv:2203.09410: largest cluster maximum distance, in the mode TP,
over last-layer gradients, which for squared error are the embeddings.
"""

from __future__ import annotations

import numpy as np
import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.points import ROWS, Points, squared_distances, squares
from querist.strategies.options import flag
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views

_CENTRES = 1024
"""Centres at once: products with a chunk of points then take 16 MB."""

_ROUNDING = 1e-5
"""Of products in float32, as a share of the squared lengths."""


@register("query", "lcmd")
class Lcmd:
    """Again and again the farthest sample of the cluster with the largest sum of squares.

    Every candidate belongs to the nearest labeled or chosen sample. For regression above all; the
    labels' values have no say.

    Args:
        labeled: whether labeled samples have clusters of their own; without them the first is the
            sample with the longest vector.
        space: `embeddings`, `features` or `auto`, which is embeddings where the learner has them.
    """

    about = About(
        paper="Holzmüller, Zaverkin, Kästner and Steinwart, A Framework and Benchmark for Deep "
        "Batch Active Learning for Regression, 2023, arXiv:2203.09410",
        needs=(View.FEATURES,),
        cost="n l d + k n (1 + d), less where clusters are far apart",
    )

    def __init__(self, labeled: bool = True, space: str = "auto") -> None:
        self.labeled = flag("labeled", labeled)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n samples in the order in which they were taken."""
        check_count(n)
        require_views(context.learner, self.needs, "lcmd")
        n = min(n, len(context.unlabeled))
        if n == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        points = Points(context.gather(view))
        clusters = GrowingClusters(points, n)
        chosen: list[int] = []
        if self.labeled and len(context.labeled):
            clusters.begin(points.moved(context.of_labeled(view)))
        else:
            chosen.append(clusters.add(_longest(points.values)))
        while len(chosen) < n:
            chosen.append(clusters.add(clusters.next()))
        return in_order(context, torch.tensor(chosen))


def _squares_from(point: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Squared distances `(m,)` of rows `(m, d)` from one point `(1, d)`, by differences.

    For one point they take no longer than products, which lose the digits of small distances.
    """
    found = torch.cdist(rows, point, compute_mode="donot_use_mm_for_euclid_dist")
    return found[:, 0].square()


def _longest(values: torch.Tensor) -> int:
    """The position of the longest vector of `(n, d)`, of equal ones the first."""
    return int(torch.cat([squares(part.double()) for part in values.split(ROWS)]).argmax())


class GrowingClusters:
    """Points by the nearest of centres that become more.

    Args:
        points: what is divided among the centres.
        room: how many points will become centres.
    """

    def __init__(self, points: Points, room: int) -> None:
        self._points = points
        n = len(points)
        self._squared = torch.full((n,), torch.inf, device=points.device)
        self._owner = torch.zeros(n, dtype=torch.int64, device=points.device)
        self._free = torch.ones(n, dtype=torch.bool, device=points.device)
        self._centres = torch.empty(0, points.values.shape[1], device=points.device)
        self._lengths: torch.Tensor | None = None
        self._room = room
        self._count = 0

    def begin(self, centres: torch.Tensor) -> None:
        """Centres from outside `(l, d)`, in the coordinates of the points, before any other."""
        for at in range(0, len(centres), _CENTRES):
            some = centres[at : at + _CENTRES]
            for begin, end, rows in self._points.chunks():
                nearest = squared_distances(rows, some).argmin(1)
                # Products find the nearest well, and round small distances badly.
                whole = torch.arange(begin, end, device=rows.device)
                self._improve(whole, squares(rows - some[nearest]), nearest + at)
        self._hold(centres)

    def next(self) -> int:
        """The farthest point of the cluster with the largest sum of squares, the first of equals.

        Once all points lie on centres, the first that is none itself.
        """
        # By numpy on the CPU: on a GPU sums of this kind are rounded in another order each time.
        owner, squared = self._owner.numpy(force=True), self._squared.numpy(force=True)
        sums = np.bincount(owner, weights=squared, minlength=self._count)
        largest = int(sums.argmax())
        if not sums[largest] > 0:
            return int(self._free.to(torch.uint8).argmax())
        members = np.flatnonzero(owner == largest)
        return int(members[squared[members].argmax()])

    def add(self, position: int) -> int:
        """Make a point a centre; returns it."""
        point = self._points.take(torch.tensor([position], device=self._points.device))
        at = self._count
        changed = self._may_change(_squares_from(point, self._centres[:at])) if at else None
        self._hold(point)
        if changed is None or 2 * len(changed) > len(self._points):
            for begin, end, rows in self._points.chunks():
                near = self._seem_nearer(rows, point[0], begin, end)
                self._improve(near + begin, _squares_from(point, rows[near]), at)
        else:
            for part in changed.split(ROWS):
                self._improve(part, _squares_from(point, self._points.take(part)), at)
        self._squared[position], self._owner[position] = 0.0, at
        self._free[position] = False
        return position

    def _may_change(self, from_centres: torch.Tensor) -> torch.Tensor:
        """Positions of points that may be nearer to a new centre, given its squared distances.

        Triangle inequality: a point nearer to its own centre than half of the way from there to the
        new one is not. A thousandth is left for rounding.
        """
        return (self._squared > 0.2499 * from_centres[self._owner]).nonzero()[:, 0]

    def _seem_nearer(
        self, rows: torch.Tensor, point: torch.Tensor, begin: int, end: int
    ) -> torch.Tensor:
        """Which of a chunk's rows are nearer to a point than to their centre, or nearly so.

        By products, a third of the time of differences; what they cannot tell apart counts.
        """
        if self._lengths is None:
            self._lengths = torch.cat([squares(part) for _, _, part in self._points.chunks()])
        lengths = self._lengths[begin:end]
        least = torch.mv(rows, point).mul_(-2).add_(lengths, alpha=1 - _ROUNDING)
        least += (1 - _ROUNDING) * squares(point)
        return (least < self._squared[begin:end]).nonzero()[:, 0]

    def _improve(
        self, rows: torch.Tensor, squared: torch.Tensor, owner: torch.Tensor | int
    ) -> None:
        nearer = squared < self._squared[rows]
        rows = rows[nearer]
        self._squared[rows] = squared[nearer]
        self._owner[rows] = owner if isinstance(owner, int) else owner[nearer]

    def _hold(self, centres: torch.Tensor) -> None:
        needed = self._count + len(centres)
        if needed > len(self._centres):
            more = self._centres.new_empty(needed + self._room, self._centres.shape[1])
            more[: self._count] = self._centres[: self._count]
            self._centres = more
        self._centres[self._count : needed] = centres
        self._count = needed
