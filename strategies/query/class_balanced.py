"""As many labels of each class, as far as predictions tell.

The aim is that of Class-Balanced Active Learning for Image Classification, Bengar, van de Weijer,
Lopez Fuentes and Raducanu, 2022, arXiv:2110.04543, who solve an integer programme over the pool.
This is simpler and ours: the predicted class stands for the unknown one, each class gets a quota
that evens out what is labeled, and another strategy chooses inside the classes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_nested,
    choose,
)
from querist.strategies.query.scoring import check_count, counted_down
from querist.values import Selection
from querist.views import View, require_views


@register("query", "class_balanced")
class ClassBalanced(MadeOfOthers):
    """Another strategy's choice inside each predicted class, with quotas that even out classes.

    A class that has few labels so far gets more picks, as far as samples are predicted to be of it.

    Args:
        strategy: the query strategy that chooses inside a class, `{name: ..., options: {...}}`.
    """

    about = About(
        paper="quotas are ours; after Bengar, van de Weijer, Lopez Fuentes and Raducanu, "
        "Class-Balanced Active Learning for Image Classification, 2022, arXiv:2110.04543",
        needs=(View.PROBABILITIES,),
        cost="n c + k log c, and its strategy's, once for each class",
    )

    def __init__(self, strategy: str | Mapping[str, Any] = "margin") -> None:
        super().__init__([build_nested("class_balanced", strategy)], View.PROBABILITIES)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Picks whose every beginning is as balanced as can be; the scores count down to 1."""
        check_count(n)
        require_views(context.learner, self.needs, "class_balanced")
        if n == 0 or not len(context.unlabeled):
            return Selection((), ())
        predicted = context.stream(View.PROBABILITIES)
        classes = torch.cat([p.argmax(1).to("cpu", torch.int32) for _, p in predicted])
        known = context.labeled.targets
        # The pool need not say how many classes there are.
        width = int(max(classes.max(), known.max() if len(known) else 0)) + 1
        there = torch.bincount(classes, minlength=width).tolist()
        labeled = torch.bincount(known, minlength=width).tolist()
        turns = list(evened_out(labeled, there, n))
        # Stable: members of a class stay in ascending order.
        members = context.unlabeled[classes.argsort(stable=True)].split(there)
        picks = {
            each: iter(self._inside(context, members[each], wanted))
            for each, wanted in sorted(Counter(turns).items())
        }
        # A strategy may choose fewer than it was asked for.
        found = (next(picks[each], None) for each in turns)
        return counted_down([index for index in found if index is not None])

    def _inside(self, context: QueryContext, members: torch.Tensor, n: int) -> tuple[int, ...]:
        return choose("class_balanced", self.strategies[0], among(context, members), n).indices


def evened_out(labeled: list[int], there: list[int], n: int) -> Iterator[int]:
    """Classes in the order of their turn, n or as many as there are samples.

    It is always the turn of the class with the fewest labels and picks so far, the lowest of equal
    ones, among those that have samples left.

    Args:
        labeled: labels that each class has.
        there: samples that may be chosen, of each class.
        n: how many turns.
    """
    heap = [(count, each) for each, count in enumerate(labeled) if there[each]]
    heapq.heapify(heap)
    left = list(there)
    for _ in range(n):
        if not heap:
            return
        count, each = heap[0]
        yield each
        left[each] -= 1
        if left[each]:
            heapq.heapreplace(heap, (count + 1, each))
        else:
            heapq.heappop(heap)
