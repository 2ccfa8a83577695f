"""Greedy coverage: the samples that, one after the other, add the most to what is covered.

A sample covers a reference by a kernel of their distance, 1 where they are the same and 0 far away,
and a reference is covered as well as its best sample covers it. The sum over references is
submodular: what a candidate adds only falls while others are taken. What it would have added
before is therefore an upper bound, and few candidates have to be looked at again for each pick.

Accelerated Greedy Algorithms for Maximizing Submodular Set Functions, Minoux, 1978,
doi:10.1007/BFb0006528.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from querist.strategies.drawing import distinct_positions
from querist.strategies.geometry.points import Points, squares

Kernel = Callable[[torch.Tensor], torch.Tensor]
"""-(distance / width)² -> how well one covers the other, 0 to 1; it may write into its argument."""

Numbers = np.ndarray[Any, Any]
"""A vector."""

ROWS = 512
REFERENCES = 2048
"""A block of distances has at most so many rows and columns: 4 MB, which a cache may hold."""

AGAIN = 32
"""Candidates that are looked at again together, at first."""

LEAST = 2**-9
"""The least width, in lengths of a reference: float32 does not tell shorter distances from none."""

HOT = 4096
"""Candidates among which the next pick is looked for, as long as no other can be better."""


class Coverage:
    """What is covered so far, and what a candidate would add.

    Args:
        references: the points that are to be covered `(m, d)`.
        width: the distance at which the kernel is given -1; at least `LEAST` of the references'
            root mean square length, below which all distances are rounding.
        kernel: how well a point covers another.
        covering: points that cover already `(l, d)`.
        weights: how much each reference counts `(m,)`, at least 0; default: all 1.
    """

    def __init__(
        self,
        references: torch.Tensor,
        width: float,
        kernel: Kernel,
        covering: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> None:
        # -(|x|² + |r|² - 2xr) / w² is one matrix product with one column more: nothing but the
        # kernel then has to pass over the block again.
        found = squares(references)
        least = LEAST * float(found.mean()) ** 0.5 if len(found) else 0.0
        self._scale = 1 / max(width, least, 1e-6) ** 2
        lengths = found[:, None] * -self._scale
        self._bias = lengths[:, 0].contiguous()
        scaled = references * (2 * self._scale)
        self._references = torch.cat([scaled, torch.ones_like(lengths)], dim=1)
        self._kernel = kernel
        self._covered = references.new_zeros(len(references))
        self._weights = torch.ones_like(self._covered)
        if weights is not None:
            self._weights.copy_(weights)
        self._block = references.new_empty(ROWS * REFERENCES)
        if covering is not None:
            for rows in covering.split(ROWS):
                self.add(rows)

    def gains(self, x: torch.Tensor) -> torch.Tensor:
        """How much each row of `(m, d)` would add alone, a weighted sum of references `(m,)`."""
        return torch.cat([self._gains(rows) for rows in x.split(ROWS)])

    def _gains(self, x: torch.Tensor) -> torch.Tensor:
        total = x.new_zeros(len(x))
        for block, begin, end in self._blocks(x):
            more = block.sub_(self._covered[begin:end]).clamp_min_(0)
            total += more @ self._weights[begin:end]
        return total

    def add(self, x: torch.Tensor) -> None:
        """From now on these points `(m, d)` cover, too; at most `ROWS` at a time."""
        for block, begin, end in self._blocks(x):
            covered = self._covered[begin:end]
            torch.maximum(covered, block.amax(0), out=covered)

    def _blocks(self, x: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, int]]:
        """Kernels of at most `ROWS` points with some references, and which these are.

        All in the same memory, one after the other.
        """
        rows = torch.cat([x, squares(x)[:, None] * -self._scale], dim=1)
        for begin in range(0, len(self._references), REFERENCES):
            end = min(begin + REFERENCES, len(self._references))
            block = self._block[: len(x) * (end - begin)].view(len(x), end - begin)
            torch.addmm(self._bias[begin:end], rows, self._references[begin:end].T, out=block)
            # Rounding gives points that are alike a distance below 0, and a kernel far above 1.
            yield self._kernel(block.clamp_max_(0)), begin, end


def most_covering(
    points: Points, coverage: Coverage, n: int, generator: torch.Generator
) -> torch.Tensor:
    """Positions of n of the points `(n,)`, each adding the most to the coverage by those before.

    When no point adds anything more, the rest is drawn at random.

    Costs `n m d` for n points and m references once, and little for each pick.
    """
    n = min(n, len(points))
    bounds = np.empty(len(points), dtype=np.float32)
    for begin, end, rows in points.chunks():
        bounds[begin:end] = coverage.gains(rows).cpu().numpy()
    picks: list[int] = []
    lazy = LazyMaximum(bounds, lambda at: coverage.gains(points.take(torch.from_numpy(at))))
    while len(picks) < n:
        best, gain = lazy.best()
        if not gain > 0:
            break
        picks.append(best)
        lazy.remove(best)
        coverage.add(points.take(torch.tensor([best])))
    left = np.ones(len(points), dtype=bool)
    left[picks] = False
    others = left.nonzero()[0]
    drawn = distinct_positions(len(others), n - len(picks), generator).numpy()
    return torch.from_numpy(np.concatenate([np.array(picks, dtype=np.int64), others[drawn]]))


class LazyMaximum:
    """The highest of numbers that only fall, without computing all of them again.

    Args:
        bounds: the numbers as they are now `(n,)`.
        again: computes those at positions `(m,)` anew.
    """

    def __init__(self, bounds: Numbers, again: Callable[[Numbers], torch.Tensor]) -> None:
        self._bounds = bounds
        self._again = again
        self._fresh = np.ones(len(bounds), dtype=bool)
        self._hot = np.empty(0, dtype=np.int64)
        self._floor = np.inf

    def best(self) -> tuple[int, float]:
        """The position of the highest number, of equal ones the first, and the number."""
        together = AGAIN
        while True:
            hot = self._bounds[self._hot]
            if not len(hot) or hot.max() < self._floor:
                self._warm_up()
                hot = self._bounds[self._hot]
            at = self._hot[hot.argmax()]
            if self._fresh[at]:
                return int(at), float(self._bounds[at])
            order = self._hot[np.argsort(-hot, kind="stable")]
            stale = np.sort(order[~self._fresh[order]][:together])
            # Never above the bound: matrix products of other shapes round in other ways.
            now = self._again(stale).cpu().numpy()
            self._bounds[stale] = np.minimum(self._bounds[stale], now)
            self._fresh[stale] = True
            together *= 2  # where many are as good as the best, few large products are faster

    def _warm_up(self) -> None:
        """Look among the highest from now on, as long as none outside can be higher."""
        order = np.argsort(-self._bounds, kind="stable")
        self._hot = np.sort(order[:HOT])
        self._floor = self._bounds[order[HOT]] if len(order) > HOT else -np.inf

    def remove(self, position: int) -> None:
        """Take a number out; all others may have fallen."""
        self._bounds[position] = -np.inf
        self._fresh[:] = False
