"""The highest point of a function over a box, found by values alone.

Starts from a scrambled Sobol sequence (Owen, Randomly Permuted (t,m,s)-Nets and (t,s)-Sequences,
1995, doi:10.1007/978-1-4612-2552-2_19); each climbs by direct search along random directions
(Gratton, Royer, Vicente and Zhang, Direct Search Based on Probabilistic Descent, 2015,
doi:10.1137/140961602). All starts move together, so that the function is asked for many points at a
time.

Points are in coordinates of the box: 0 .. 1 in each of d numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.quasirandom import SobolEngine

Height = Callable[[torch.Tensor], torch.Tensor]
"""Points `(m, d)` -> values `(m,)`, higher = more wanted."""

DIRECTIONS = 8
"""Polled from each point, forwards and backwards, at most."""

_FIRST_STEP = 0.1
_LONGEST_STEP = 0.5


def spread_points(d: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Points `(count, d)` that fill the box evenly."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    drawn: torch.Tensor = SobolEngine(d, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    return drawn


def climb(
    points: torch.Tensor, height: Height, steps: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each of the points `(s, d)` gets to, never lower, and the heights there `(s,)`.

    Args:
        points: where to start.
        height: what is climbed.
        steps: how often each looks about itself; a step is shortened when nothing is higher.
        generator: draws the directions.
    """
    count, d = points.shape
    heights = height(points)
    lengths = torch.full((count, 1, 1), _FIRST_STEP, dtype=points.dtype)
    every = torch.arange(count)
    for _ in range(steps):
        directions = _directions(count, d, generator)
        there = points[:, None] + lengths * torch.cat([directions, -directions], dim=1)
        there = there.clamp(0, 1)
        found = height(there.flatten(0, 1)).reshape(count, -1)
        best, at = found.max(1)
        higher = best > heights
        points = torch.where(higher[:, None], there[every, at], points)
        heights = torch.where(higher, best, heights)
        lengths = lengths * torch.where(higher, 1.5, 0.5)[:, None, None]
        lengths = lengths.clamp(max=_LONGEST_STEP)
    return points, heights


def _directions(count: int, d: int, generator: torch.Generator) -> torch.Tensor:
    """Random directions of length 1, orthogonal to each other, for each point `(count, k, d)`."""
    normal = torch.randn(count, d, min(d, DIRECTIONS), generator=generator, dtype=torch.float64)
    orthogonal: torch.Tensor = torch.linalg.qr(normal).Q
    return orthogonal.mT
