"""One query strategy at first, another one later: a cold start, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError
from querist.protocols import QueryStrategy
from querist.registry import register
from querist.strategies.options import whole_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    build_list,
    one_makes_samples,
)
from querist.strategies.query.scoring import check_count
from querist.values import Selection

CONDITIONS = (
    "until_iteration",
    "until_labels",
    "until_labels_per_class",
    "until_mean_labels_per_class",
)


@register("query", "switch")
class Switch(MadeOfOthers):
    """The first of its stages that is not over chooses all samples of an iteration.

    Args:
        stages: at least two query strategies, `{name: ..., options: {...}}`, in the order of their
            turn. All but the last say when they end: `until_iteration: 3` before iteration 3 (the
            first is 0), `until_labels: 40` once there are 40 labels, `until_labels_per_class: 4`
            once each class has 4 labels (a class that is never found keeps the stage for ever),
            `until_mean_labels_per_class: 4` once there are 4 labels for each class on the mean,
            whichever they are.
    """

    about = About(paper="", needs=(), cost="that of the stage whose turn it is")

    def __init__(self, stages: Sequence[Mapping[str, Any]]) -> None:
        built = build_list("switch", "stages", stages, keys=CONDITIONS, may_make=True)
        if len(built) < 2:
            raise ConfigurationError(
                "stages of switch are at least two, not 1: add the one that follows, or use the "
                "strategy alone"
            )
        super().__init__([strategy for strategy, _ in built])
        self._ends = [_end(said, position) for position, (_, said) in enumerate(built[:-1])]
        if built[-1][1]:
            raise ConfigurationError(
                f"the last of the stages of switch has no end, unlike {dict(built[-1][1])}: remove "
                "it, or add a stage"
            )
        self.makes_samples = one_makes_samples(self.strategies)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the stage chooses whose turn it is, with its scores.

        Raises:
            StrategyError: labels per class are to be counted, and there are no classes.
        """
        check_count(n)
        return self.now(context).sample(context, n)

    def now(self, context: QueryContext) -> QueryStrategy:
        """The strategy whose turn it is."""
        for strategy, (condition, number) in zip(self.strategies, self._ends, strict=False):
            if _reached(condition, context) < number:
                return strategy
        return self.strategies[-1]


def _end(said: Mapping[str, Any], position: int) -> tuple[str, int]:
    if len(said) != 1:
        raise ConfigurationError(
            f"each of the stages of switch but the last has one end of {', '.join(CONDITIONS)}, "
            f"not {' and '.join(said) or 'none'} (stage {position}): write until_labels: 40"
        )
    ((condition, number),) = said.items()
    return condition, whole_number(f"{condition} of a stage of switch", number, least=1)


def _reached(condition: str, context: QueryContext) -> int:
    """What a condition counts, now."""
    if condition == "until_iteration":
        return context.iteration
    if condition == "until_labels":
        return len(context.labeled)
    classes = context.pool.classes
    if classes is None or context.labeled.targets.ndim != 1:
        raise StrategyError(
            f"{condition} counts labels of classes, and the labels are numbers: use until_labels "
            "or until_iteration"
        )
    if condition == "until_mean_labels_per_class":
        return len(context.labeled) // classes
    return int(torch.bincount(context.labeled.targets, minlength=classes).min())
