"""Samples that cover the pool, with the labeled ones, chosen one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from querist.context import QueryContext
from querist.strategies.geometry.coverage import Coverage, Kernel, most_covering
from querist.strategies.geometry.points import Points, drawn_references
from querist.strategies.options import whole_number
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space, labeled_points
from querist.values import Selection

Width = Callable[[QueryContext, Points, torch.Tensor], float]
"""The pool's points and the references `(m, d)` -> the distance that a kernel is given as -1."""


def checked_references(value: Any) -> int | None:
    """The option `references`: how many samples stand for the pool; None for all of them.

    Raises:
        ConfigurationError: it is no number of samples.
    """
    return None if value is None else whole_number("references", value, least=1)


def select_covering(
    context: QueryContext,
    n: int,
    space: Space,
    references: int | None,
    width: Width,
    kernel: Kernel,
) -> Selection:
    """n samples in the order in which they were taken; scores count down to 1.

    Args:
        context: what is there to choose from, and what is labeled.
        n: how many; all of them when fewer are there.
        space: where distances are measured.
        references: how many samples are to be covered; None for all.
        width: of the kernel, in the coordinates of the points.
        kernel: how well a sample covers another.
    """
    check_count(n)
    if not n or not len(context.unlabeled):
        return in_order(context, torch.empty(0, dtype=torch.int64))
    points = Points(space.all(context))
    covered = drawn_references(points, references, context.generator)
    reach = width(context, points, covered)
    coverage = Coverage(covered, reach, kernel, labeled_points(context, points, space))
    return in_order(context, most_covering(points, coverage, n, context.generator))
