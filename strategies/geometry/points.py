"""Samples as points whose distances can be computed in float32, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from querist.strategies.drawing import at_most

ROWS = 4096
"""Points per chunk: the product with some hundred centres stays within a processor's cache."""

HELD = 2**31
"""Bytes up to which the moved and scaled copy is kept; above, chunks are made as they are asked."""

PAIRS = 1000
"""Of so many rows all pairs are looked at for a median."""


class Points:
    """Samples `(n, d)`, moved and scaled so that matrix products give good distances in float32.

    |x|² + |y|² - 2xy loses all digits where points lie far from 0 and close to each other, and
    overflows where they are huge. Neither happens near the middle of the points and below 1, and
    which of two distances is the larger does not change.

    Args:
        values: what is moved and scaled; it is read only.
        more: points after these `(m, d)`, which need not be copied to lie beside them.

    Attributes:
        scale: what distances have to be multiplied with to be those of `values`.
    """

    def __init__(self, values: torch.Tensor, more: torch.Tensor | None = None) -> None:
        self.values = values
        self._more = values[:0] if more is None else more.to(values)
        n = len(self)
        some = self._at(torch.arange(0, n, max(1, n // ROWS), device=values.device))
        self._middle = some.mean(0) if n else values.new_zeros(values.shape[1])
        ends = [part.aminmax() for part in (values, self._more) if part.numel()]
        low, high = min((e.min for e in ends), default=0), max((e.max for e in ends), default=0)
        spread = float(high / 2 - low / 2)
        self.scale = 2 * spread if spread > 0 else 1.0
        self._kept: torch.Tensor | None = None
        if n * values.shape[1] * 4 <= HELD:
            kept = torch.empty(n, values.shape[1], dtype=torch.float32, device=values.device)
            for begin, end, rows in self.chunks():
                kept[begin:end] = rows
            self._kept = kept

    def __len__(self) -> int:
        return len(self.values) + len(self._more)

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.values.device

    def moved(self, values: torch.Tensor) -> torch.Tensor:
        """Other samples `(m, d)`, moved and scaled like these."""
        # Divided first: the difference of two huge numbers may be too large for their type.
        values = values.to(self.device, self.values.dtype)
        return (values / self.scale - self._middle / self.scale).float()

    def rows(self, begin: int, end: int) -> torch.Tensor:
        """The points from `begin` to before `end`, `(m, d)`."""
        if self._kept is not None:
            return self._kept[begin:end]
        size = len(self.values)
        found = self.values[begin:end]
        if end > size:
            found = torch.cat([found, self._more[max(begin - size, 0) : end - size]])
        return self.moved(found)

    def chunks(self, rows: int = ROWS) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Where a chunk begins and ends, and its points."""
        for begin in range(0, len(self), rows):
            end = min(begin + rows, len(self))
            yield begin, end, self.rows(begin, end)

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """The points at these positions `(m,)`, a copy `(m, d)`."""
        positions = positions.to(self.device)
        if self._kept is not None:
            return self._kept[positions]
        return self.moved(self._at(positions))

    def _at(self, positions: torch.Tensor) -> torch.Tensor:
        """The values at these positions `(m,)`, a copy `(m, d)`."""
        size = len(self.values)
        if not len(self._more):
            return self.values[positions]
        found = self.values.new_empty(len(positions), self.values.shape[1])
        added = positions >= size
        found[~added] = self.values[positions[~added]]
        found[added] = self._more[positions[added] - size]
        return found


def squares(x: torch.Tensor) -> torch.Tensor:
    """Squared length of each row: `(m, d)` -> `(m,)`."""
    found: torch.Tensor = torch.linalg.vecdot(x, x)
    return found


def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Between all rows of `(m, d)` and all of `(k, d)`: `(m, k)`, at least 0."""
    products = torch.addmm(squares(y), x, y.T, alpha=-2)
    return products.add_(squares(x)[:, None]).clamp_min_(0)


def median_distance(x: torch.Tensor) -> float:
    """The median distance between two of up to about 1,000 rows of `(m, d)`, at least 1e-6."""
    some = x[:: max(1, len(x) // PAIRS)]
    return math.sqrt(max(float(squared_distances(some, some).flatten().median()), 1e-12))


def drawn_references(
    points: Points, wanted: int | None, generator: torch.Generator
) -> torch.Tensor:
    """The points that are to be covered `(m, d)`: all, or as many as wanted, drawn."""
    size = len(points)
    return points.take(at_most(size, size if wanted is None else wanted, generator))


def nearest_to_the_mean(values: torch.Tensor) -> int:
    """The position of the row of `(n, d)` that is nearest to their mean, of equal ones the first.

    The first sample of greedy sampling where nothing is labeled yet.
    """
    mean = sum(part.double().sum(0) for part in values.split(ROWS)) / len(values)
    away = [(part - mean).square().sum(1) for part in values.split(ROWS)]
    return int(torch.cat(away).argmin())
