"""All samples in a row for one class: where its boundary is, as far as labels tell.

The linear graph of Zhang, Katz-Samuels and Nowak, GALAXY, 2022, arXiv:2202.01402.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush

import numpy as np


class RankedGraph:
    """Nodes in a row, neighbours connected; the labeled ones are of the class, or not.

    Args:
        order: nodes from the least to the most like the class `(m,)`, each once.
        label: of the class.
    """

    def __init__(self, order: np.ndarray, label: int) -> None:
        self._order = order.astype(np.int32)
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(order), dtype=np.int32)
        self._label = label
        self._known: list[int] = []
        self._inside: list[bool] = []
        self._has_label = np.zeros(len(order), dtype=np.bool_)
        self._by_kind = [np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)]
        self._gaps: list[tuple[int, int]] = []

    def add(self, node: int, label: int) -> None:
        """A node's label is known (or believed) from now on."""
        place = int(self._place[node])
        at = bisect_left(self._known, place)
        self._known.insert(at, place)
        inside = label == self._label
        self._inside.insert(at, inside)
        self._has_label[place] = True
        places = self._by_kind[inside]
        self._by_kind[inside] = np.insert(places, np.searchsorted(places, place), place)
        for left in (at - 1, at):
            if 0 <= left < len(self._known) - 1 and self._inside[left] != self._inside[left + 1]:
                begin, end = self._known[left], self._known[left + 1]
                if end - begin > 1:
                    heappush(self._gaps, (end - begin, begin))

    def shortest_gap(self) -> tuple[int, int] | None:
        """The length of the shortest gap across a boundary, and the node in its middle.

        Of equal ones the one that is least like the class; None where there is none.
        """
        while self._gaps:
            length, begin = self._gaps[0]
            after = bisect_left(self._known, begin) + 1
            if self._known[after] == begin + length:
                return length, int(self._order[begin + length // 2])
            heappop(self._gaps)  # it has been divided since
        return None

    def nearest_boundary(self) -> tuple[int, int] | None:
        """The unlabeled node that fewest places separate from a label of each kind.

        It is next to a labeled node, where there are no more gaps. Comes with how many places the
        farther of the two is away; None where labels are of one kind, or all nodes have one.
        """
        if not all(len(places) for places in self._by_kind):
            return None
        labeled = np.concatenate(self._by_kind)
        beside = np.concatenate([labeled - 1, labeled + 1])
        beside = beside[(beside >= 0) & (beside < len(self._order))]
        free = np.sort(beside[~self._has_label[beside]])
        if not len(free):
            return None
        away = np.maximum(*(_distance(free, places) for places in self._by_kind))
        best = int(away.argmin())
        return int(away[best]), int(self._order[free[best]])


def _distance(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each place to the nearest of `others`, which are ascending and at least one."""
    at = np.searchsorted(others, places)
    left = others[np.maximum(at - 1, 0)]
    right = others[np.minimum(at, len(others) - 1)]
    return np.minimum(np.abs(places - left), np.abs(places - right))
