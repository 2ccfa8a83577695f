"""Several query strategies side by side, each with a share of what is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.indices import without
from querist.registry import register
from querist.strategies.options import finite_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_list,
    choose,
)
from querist.strategies.query.scoring import check_count, counted_down
from querist.values import Selection


@register("query", "mixture")
class Mixture(MadeOfOthers):
    """Each of several strategies chooses its share; later ones choose from what is left.

    Args:
        parts: query strategies, `{name: ..., options: {...}, share: 0.8}`. Shares are positive
            numbers, and count in proportion to their sum; without one a part has the share 1.
    """

    about = About(paper="", needs=(), cost="the sum of its parts'")

    def __init__(self, parts: Sequence[str | Mapping[str, Any]]) -> None:
        built = build_list("mixture", "parts", parts, keys=("share",))
        super().__init__([strategy for strategy, _ in built])
        self.shares = [_share(said.get("share", 1)) for _, said in built]

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The parts' choices, one part after the other; the scores count down to 1.

        What a part does not use up of its share is left to the next.
        """
        check_count(n)
        numbers = by_largest_remainder(min(n, len(context.unlabeled)), self.shares)
        chosen: list[int] = []
        left = context.unlabeled
        for position, strategy in enumerate(self.strategies):
            wanted = sum(numbers[: position + 1]) - len(chosen)
            found = choose("mixture", strategy, among(context, left), wanted)
            chosen += found.indices
            left = without(left, torch.tensor(found.indices, dtype=torch.int64))
        return counted_down(chosen)


def by_largest_remainder(n: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to positive `shares` that sum to n; ties to the first."""
    total = sum(shares)
    exact = [n * share / total for share in shares]
    numbers = [math.floor(part) for part in exact]
    largest_first = sorted(range(len(shares)), key=lambda i: (numbers[i] - exact[i], i))
    for i in largest_first[: n - sum(numbers)]:
        numbers[i] += 1
    return numbers


def _share(value: Any) -> float:
    share = finite_number("share of a part of mixture", value, least=0)
    if share == 0:
        raise ConfigurationError(
            "share of a part of mixture is more than 0, not 0: raise it, or remove the part"
        )
    return share
