"""A query strategy on a random part of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.drawing import distinct_positions
from querist.strategies.options import share as checked_share
from querist.strategies.options import whole_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_nested,
    choose,
)
from querist.strategies.query.scoring import check_count
from querist.values import Selection


@register("query", "subsample")
class Subsample(MadeOfOthers):
    """Another strategy's choice from candidates that are drawn at random in every iteration.

    The learner is asked about the drawn ones alone, so that the cost is that of the part.

    Args:
        strategy: the query strategy, `{name: ..., options: {...}}`.
        size: how many candidates are drawn; never fewer than are wanted.
        share: instead of `size`, which part of the unlabeled samples is drawn, 0 to 1.
    """

    about = About(paper="", needs=(), cost="that of its strategy on the candidates drawn")

    def __init__(
        self,
        strategy: str | Mapping[str, Any],
        size: int | None = None,
        share: float | None = None,
    ) -> None:
        if (size is None) == (share is None):
            raise ConfigurationError(
                "subsample draws a number of candidates or a share of them, not "
                f"{'both' if share is not None else 'neither'}: set one of size and share"
            )
        self.size = None if size is None else whole_number("size", size, least=1)
        self.share = None if share is None else checked_share("share", share)
        super().__init__([build_nested("subsample", strategy)])

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the strategy chooses from the drawn candidates, with its scores."""
        check_count(n)
        there = len(context.unlabeled)
        size = round(there * self.share) if self.size is None else self.size  # type: ignore[operator]
        size = min(there, max(size, n))
        if size < there:
            drawn = context.unlabeled[distinct_positions(there, size, context.generator)]
            context = among(context, drawn)
        return choose("subsample", self.strategies[0], context, n)
