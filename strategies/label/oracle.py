"""Labels from the truth that the pool holds back: for benchmarks, tests and rehearsals."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from querist.errors import StrategyError
from querist.pools.combined import is_truthful
from querist.protocols import TruthfulPool
from querist.registry import register
from querist.requests import LabelRequest
from querist.strategies.options import finite_number, text
from querist.values import Label


@register("label", "oracle")
class Oracle:
    """The pool's own truth, at once and never wrong.

    Args:
        annotator: who the labels are said to come from.
        cost: what each label is said to cost, in the experiment's own unit.
    """

    asks_by_key = True

    def __init__(self, annotator: str = "oracle", cost: float = 1.0) -> None:
        self.annotator = text("annotator", annotator)
        self.cost = finite_number("cost", cost, least=0.0)

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """One label per sample asked for: an int of a class, a float, or a list of floats.

        Raises:
            StrategyError: the pool does not know its labels, or has other targets than it should.
        """
        pool = request.pool
        if not is_truthful(pool) or not isinstance(pool, TruthfulPool):
            raise StrategyError(
                "the oracle needs a pool that knows its labels, and this one does not: give it a "
                "`targets` method, or use another label strategy"
            )
        targets = pool.targets(request.indices)
        _check_targets(targets, len(request.indices))
        if targets.dtype == torch.bool:
            targets = targets.to(torch.int64)
        for index, value in zip(request.indices.tolist(), targets.tolist(), strict=True):
            yield Label(index, value, self.annotator, self.cost)


def _check_targets(targets: torch.Tensor, count: int) -> None:
    dimensions = (1, 2) if targets.is_floating_point() else (1,)
    if targets.dim() not in dimensions or len(targets) != count or targets.is_complex():
        raise StrategyError(
            f"the truth of {count} samples is ({count},) integers, or ({count},) or ({count}, d) "
            f"floats, not {targets.dtype} {tuple(targets.shape)}: check the pool's `targets`"
        )
