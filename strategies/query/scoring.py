"""The n highest scores of a pool that is predicted chunk by chunk.

Memory is bounded by the chunk and by n, whatever the size of the pool: only the best n are kept,
and only they are ever sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.strategies.query.rows import GROUP, two_highest
from querist.values import Selection, Task

Score = Callable[[torch.Tensor], torch.Tensor]
"""Class probabilities `(m, c)` -> scores `(m,)`, higher = more wanted."""

ROUNDING = 1e-3
"""How far a probability may lie above 1 before it is taken for something else (a logit)."""

_WHOLE = {
    torch.float32: (torch.int32, int(torch.tensor(1 + ROUNDING).view(torch.int32))),
    torch.float64: (torch.int64, int(torch.tensor(1 + ROUNDING).double().view(torch.int64))),
}

BLOCK = 2**18
"""So many probabilities at a time are checked and scored while they are in a core's cache."""


def select_by_probability(context: QueryContext, n: int, score: Score) -> Selection:
    """The n unlabeled samples with the highest scores; of equal ones the lower index comes first.

    Args:
        context: what is there to choose from.
        n: how many; all of them when fewer are there.
        score: acquisition function over class probabilities.

    Raises:
        StrategyError: the learner predicts no classes, or its probabilities are unusable.
    """
    check_count(n)
    if context.learner.task != Task.CLASSIFICATION:
        raise StrategyError(
            f"this query strategy needs class probabilities, and a {context.learner.task} learner "
            "has none: use `random`, or a query strategy for regression"
        )
    top = TopScores(min(n, len(context.unlabeled)))
    if top.n == 0:
        return top.selection()
    for indices, features in context.chunks():
        probabilities = context.learner.predict_proba(features)
        check_shape(probabilities, indices)
        rows = max(BLOCK // probabilities.shape[1] // GROUP, 1) * GROUP
        for some, block in zip(indices.split(rows), probabilities.split(rows), strict=True):
            block = _at_least_single(block)
            check_probabilities(block, some)
            scores = score(block)
            check_scores(scores, some)
            top.offer(some, scores)
    return top.selection()


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
        self._indices: list[torch.Tensor] = []
        self._scores: list[torch.Tensor] = []
        self._held = 0
        self._floor: float | None = None

    def offer(self, indices: torch.Tensor, scores: torch.Tensor) -> None:
        """Take in candidates `(m,)` and their finite scores `(m,)`, in any order."""
        if self._floor is not None:
            # Not `>`: a candidate on the floor still wins against a higher index. numpy finds
            # them five times as fast as torch.
            wanted = torch.from_numpy(np.flatnonzero(scores.numpy(force=True) >= self._floor))
            indices, scores = indices[wanted], scores[wanted]
        self._indices.append(indices)
        self._scores.append(scores)
        self._held += len(indices)
        if self._held > (self.n if self._floor is None else 2 * self.n):
            self._drop_the_rest()

    def _drop_the_rest(self) -> None:
        indices, scores = torch.cat(self._indices), torch.cat(self._scores)
        if len(scores) > self.n:
            floor = scores.topk(self.n, sorted=False).values.min()
            above, level = scores > floor, scores == floor
            room = self.n - int(above.sum())
            # Indices differ, so that this topk has no ties and is the same on every machine.
            lowest = indices[level].topk(room, largest=False, sorted=False).indices
            indices = torch.cat([indices[above], indices[level][lowest]])
            scores = torch.cat([scores[above], scores[level][lowest]])
            self._floor = float(floor)
        self._indices, self._scores, self._held = [indices], [scores], len(indices)

    def selection(self) -> Selection:
        """The best n so far, highest score first, of equal ones the lower index first."""
        if self._held == 0:
            return Selection((), ())
        self._drop_the_rest()
        indices, scores = self._indices[0].numpy(), self._scores[0].numpy()
        order = np.lexsort((indices, -scores))
        return Selection(tuple(indices[order].tolist()), tuple(scores[order].tolist()))


def check_count(n: int) -> None:
    """Refuse to choose a negative number of samples.

    Raises:
        StrategyError: n is negative.
    """
    if n < 0:
        raise StrategyError(f"a query strategy chooses 0 samples or more, not {n}: ask for more")


def check_probabilities(probabilities: torch.Tensor, indices: torch.Tensor) -> None:
    """Refuse what cannot be the class probabilities of the samples `indices`.

    Raises:
        StrategyError: the shape is not `(m, c)`, or a value is NaN, infinite or outside 0 .. 1.
    """
    check_shape(probabilities, indices)
    if _surely_good(probabilities):
        return
    refuse_rows(torch.isfinite(probabilities).all(1), indices, "probabilities", "NaN or infinite")
    good = ((probabilities >= 0) & (probabilities <= 1 + ROUNDING)).all(1)
    refuse_rows(good, indices, "probabilities", "outside 0 to 1")


def check_shape(probabilities: torch.Tensor, indices: torch.Tensor) -> None:
    """Refuse what is not one row of class probabilities per sample.

    Raises:
        StrategyError: the shape is not `(m, c)`.
    """
    shape = tuple(probabilities.shape)
    if len(shape) != 2 or shape[0] != len(indices) or shape[1] == 0:
        raise StrategyError(
            f"class probabilities of {len(indices)} samples have the shape ({len(indices)}, "
            f"classes), not {shape}: check the learner's predict_proba"
        )


def _surely_good(probabilities: torch.Tensor) -> bool:
    """Whether all are from 0 to 1, found in one pass; NaN and what is close to a bound are not.

    Read as whole numbers, floats above 0 keep their order, NaN is the highest and what has a minus
    is below 0: three times as fast as a comparison that must carry NaN on.
    """
    if probabilities.dtype not in _WHOLE:
        low, high = probabilities.double().aminmax()
        return bool(low >= 0) and bool(high <= 1 + ROUNDING)
    whole, highest = _WHOLE[probabilities.dtype]
    lowest, found = (int(end) for end in probabilities.view(whole).aminmax())
    return lowest >= 0 and found <= highest


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
    low, high = scores.aminmax() if len(scores) else (torch.zeros(()),) * 2
    if not (math.isfinite(low) and math.isfinite(high)):
        refuse_rows(torch.isfinite(scores), indices, "scores", "NaN or infinite")


def refuse_rows(good: torch.Tensor, indices: torch.Tensor, what: str, fault: str) -> None:
    """Name the first of the samples that are not `good` `(m,)`, and how many there are.

    Raises:
        StrategyError: at least one is not good.
    """
    if bool(good.all()):
        return
    bad = indices[~good]
    raise StrategyError(
        f"{what} must be finite numbers a sample can be ranked by: those of {len(bad)} of "
        f"{len(indices)} samples are {fault}, the first is sample {int(bad[0])}: check the model "
        "(has its training diverged?)"
    )


def _at_least_single(probabilities: torch.Tensor) -> torch.Tensor:
    """Half precision widened: its coarse steps would make ties of different scores."""
    if probabilities.dtype in (torch.float16, torch.bfloat16):
        return probabilities.float()
    return probabilities
