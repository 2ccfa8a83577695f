"""The n highest scores of a pool that is predicted chunk by chunk.

Memory is bounded by the chunk and by n, whatever the size of the pool: only the best n are kept,
and only they are ever sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.strategies.query.rows import GROUP, two_highest
from querist.values import Selection
from querist.view_checks import refuse_rows
from querist.views import View, require_views

Score = Callable[[torch.Tensor], torch.Tensor]
"""Class probabilities `(m, c)` -> scores `(m,)`, higher = more wanted."""

BLOCK = 2**18
"""So many numbers at a time are scored, while they are in a core's cache."""


def select_by_probability(context: QueryContext, n: int, score: Score) -> Selection:
    """The n unlabeled samples with the highest scores; of equal ones the lower index comes first.

    Args:
        context: what is there to choose from.
        n: how many; all of them when fewer are there.
        score: acquisition function over class probabilities.

    Raises:
        StrategyError: the learner predicts no classes, or its probabilities are unusable.
    """
    return select_by_score(context, n, score, View.PROBABILITIES)


def select_by_score(
    context: QueryContext, n: int, score: Callable[..., torch.Tensor], *views: View
) -> Selection:
    """The n unlabeled samples with the highest scores; of equal ones the lower index comes first.

    Args:
        context: what is there to choose from.
        n: how many; all of them when fewer are there.
        score: acquisition function, called with the views of m samples at a time, in their order;
            gives `(m,)`.
        views: what it needs to know.

    Raises:
        StrategyError: the learner does not have the views, or says something that cannot be.
    """
    check_count(n)
    require_views(context.learner, views, "this query strategy")
    top = TopScores(min(n, len(context.unlabeled)))
    if top.n == 0:
        return top.selection()
    for indices, *values in context.stream(*views):
        rows = _rows_at_once(values, views)
        parts = [each.split(rows, view.rows) for each, view in zip(values, views, strict=True)]
        for some, *block in zip(indices.split(rows), *parts, strict=True):
            scores = score(*block).cpu()
            check_scores(scores, some)
            top.offer(some, scores)
    return top.selection()


def _rows_at_once(values: Sequence[torch.Tensor], views: Sequence[View]) -> int:
    """Samples whose numbers fill the cache; on a GPU, all of a chunk."""
    first, dimension = values[0], views[0].rows
    if first.device.type != "cpu":
        return first.shape[dimension]
    # Scores go through models one after the other, so that one model's numbers are to fill it.
    sizes = [
        4 * each[0].numel() if view.rows else each.numel()
        for each, view in zip(values, views, strict=True)
    ]
    return max(BLOCK * first.shape[dimension] // max(*sizes, 1) // GROUP, 1) * GROUP


def in_order(context: QueryContext, positions: torch.Tensor) -> Selection:
    """Unlabeled samples by their positions `(k,)`, in this order; the scores count down to 1."""
    return counted_down(context.unlabeled[positions.cpu()].tolist())


def counted_down(indices: Sequence[int]) -> Selection:
    """Ordered picks that have no number which falls with their order; scores count down to 1."""
    return Selection(tuple(indices), tuple(float(left) for left in range(len(indices), 0, -1)))


def top_two(probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest and the second highest of each row of `(m, c)`; the second of one class is 0."""
    classes = probabilities.shape[1]
    if classes == 1:
        return probabilities[:, 0], torch.zeros_like(probabilities[:, 0])
    return two_highest(probabilities)


class TopScores:
    """Keeps the n highest of the scores it is offered; holds at most 2n and one offer.

    Args:
        n: how many to keep.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        # numpy finds what is above a number, and parts by size, several times as fast as torch.
        self._indices: list[np.ndarray[Any, Any]] = []
        self._scores: list[np.ndarray[Any, Any]] = []
        self._held = 0
        self._floor: float | None = None

    def offer(self, indices: torch.Tensor, scores: torch.Tensor) -> None:
        """Take in candidates `(m,)` and their finite scores `(m,)`, in any order."""
        at, values = indices.numpy(force=True), scores.numpy(force=True)
        if self._floor is not None:
            # Not `>`: a candidate on the floor still wins against a higher index.
            wanted = np.flatnonzero(values >= self._floor)
            at, values = at[wanted], values[wanted]
        self._indices.append(at)
        self._scores.append(values)
        self._held += len(at)
        if self._held > (self.n if self._floor is None else 2 * self.n):
            self._drop_the_rest()

    def _drop_the_rest(self) -> None:
        if len(self._scores) > 1:
            self._indices = [np.concatenate(self._indices)]
            self._scores = [np.concatenate(self._scores)]
        (indices,), (scores,) = self._indices, self._scores
        if len(scores) > self.n:
            floor = np.partition(scores, len(scores) - self.n)[len(scores) - self.n]
            above, level = np.flatnonzero(scores > floor), np.flatnonzero(scores == floor)
            room = self.n - len(above)
            if room < len(level):
                level = level[np.argpartition(indices[level], room - 1)[:room]]
            kept = np.concatenate([above, level])
            self._indices, self._scores = [indices[kept]], [scores[kept]]
            self._floor = float(floor)
        self._held = len(self._scores[0])

    def selection(self) -> Selection:
        """The best n so far, highest score first, of equal ones the lower index first."""
        if self._held == 0:
            return Selection((), ())
        self._drop_the_rest()
        (indices,), (scores,) = self._indices, self._scores
        order = np.lexsort((indices, -scores))
        return Selection(tuple(indices[order].tolist()), tuple(scores[order].tolist()))


def check_count(n: int) -> None:
    """Refuse to choose a negative number of samples.

    Raises:
        StrategyError: n is negative.
    """
    if n < 0:
        raise StrategyError(f"a query strategy chooses 0 samples or more, not {n}: ask for more")


def check_scores(scores: torch.Tensor, indices: torch.Tensor) -> None:
    """Refuse scores that are not one finite number per sample.

    Raises:
        StrategyError: the shape is not `(m,)`, or a score is NaN or infinite.
    """
    if scores.shape != indices.shape:
        raise StrategyError(
            f"{len(indices)} samples have {len(indices)} scores, not the shape "
            f"{tuple(scores.shape)}: check the acquisition function"
        )
    # NaN makes both ends NaN.
    low, high = scores.aminmax() if len(scores) else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        refuse_rows(torch.isfinite(scores), indices, "scores", "NaN or infinite")
