"""Query strategies one after the other: each filters, the last one chooses.

The usual way to make an expensive strategy fit a large pool, or a diverse one look at uncertain
samples only: `margin` keeps ten times as many as are wanted, and a clustering chooses among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.options import finite_number, whole_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_list,
    choose,
)
from querist.strategies.query.scoring import check_count
from querist.values import Selection


@register("query", "sequence")
class InSequence(MadeOfOthers):
    """Filters the pool by one strategy after the other, and chooses by the last one.

    Args:
        stages: at least two query strategies, `{name: ..., options: {...}}`. All but the last say
            how many samples they keep for the next: `keep_times: 10` for ten times as many as are
            wanted, or `keep: 5000` for a number (never fewer than are wanted).
    """

    about = About(paper="", needs=(), cost="that of its stages, each on what the one before keeps")

    def __init__(self, stages: Sequence[Mapping[str, Any]]) -> None:
        built = build_list("sequence", "stages", stages, keys=("keep", "keep_times"))
        if len(built) < 2:
            raise ConfigurationError(
                "stages of sequence are at least two, one to filter and one to choose, not 1: add "
                "one, or use the strategy alone"
            )
        super().__init__([strategy for strategy, _ in built])
        self._keep = [_kept(said, number) for number, (_, said) in enumerate(built[:-1])]
        if built[-1][1]:
            raise ConfigurationError(
                f"the last of the stages of sequence keeps what is wanted, not "
                f"{dict(built[-1][1])}: remove it, or add a stage"
            )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the last stage chooses, with its scores."""
        check_count(n)
        for strategy, (number, times) in zip(self.strategies, self._keep, strict=False):
            kept = max(n, number, int(times * n))
            # A strategy is asked even if it keeps all: its checks are part of what it does.
            found = choose("sequence", strategy, context, min(kept, len(context.unlabeled)))
            context = among(context, torch.tensor(found.indices, dtype=torch.int64))
        return choose("sequence", self.strategies[-1], context, n)


def _kept(said: Mapping[str, Any], position: int) -> tuple[int, float]:
    """How many a stage keeps: a number, and how often n; one of the two is 0."""
    if len(said) != 1:
        raise ConfigurationError(
            f"each of the stages of sequence but the last says keep or keep_times, not "
            f"{' and '.join(said) or 'neither'} (stage {position}): write keep_times: 10"
        )
    if "keep" in said:
        return whole_number("keep of a stage of sequence", said["keep"], least=1), 0.0
    return 0, finite_number("keep_times of a stage of sequence", said["keep_times"], least=1)
