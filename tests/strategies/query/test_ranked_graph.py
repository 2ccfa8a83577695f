from __future__ import annotations

from itertools import count

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.ranked_graph import RankedGraph


def graph_of(size: int, labels: dict[int, int]) -> RankedGraph:
    graph = RankedGraph(np.arange(size), 1)
    for node, label in labels.items():
        graph.add(node, label)
    return graph


def test_the_shortest_gap_is_bisected() -> None:
    graph = graph_of(100, {10: 0, 50: 1, 60: 0, 90: 0})
    assert graph.shortest_gap() == (10, 55)
    graph.add(55, 0)
    assert graph.shortest_gap() == (5, 52)
    graph.add(52, 1)
    assert graph.shortest_gap() == (3, 53)
    graph.add(53, 1)
    assert graph.shortest_gap() == (2, 54)
    graph.add(54, 0)
    assert graph.shortest_gap() == (40, 30)


def test_both_sides_of_a_boundary_are_taken() -> None:
    graph = graph_of(20, {9: 0, 10: 1})
    assert graph.shortest_gap() is None
    taken = []
    for _ in range(6):
        found = graph.nearest_boundary()
        assert found is not None
        taken.append(found[1])
        graph.add(found[1], int(found[1] >= 10))
    assert sorted(taken) == [6, 7, 8, 11, 12, 13]


def test_labels_of_one_kind_have_no_boundary() -> None:
    for label in (0, 1):
        graph = graph_of(9, {2: label, 5: label})
        assert graph.shortest_gap() is None
        assert graph.nearest_boundary() is None
    assert graph_of(9, {}).nearest_boundary() is None
    assert graph_of(2, {0: 0, 1: 1}).nearest_boundary() is None


def middles(size: int, labels: dict[int, int]) -> set[int]:
    """Middles of the shortest paths between labels of two kinds, by walking the graph.

    Nodes up to `order` places apart are connected, labeled ones of two kinds never; `order` is the
    lowest under which there is a path.
    """
    for order in count(1):
        if order > size:
            return set()
        steps = []
        for kind in (0, 1):
            far = np.full(size, np.inf)
            far[[node for node, label in labels.items() if label == kind]] = 0
            for _ in range(size):
                for a in range(size):
                    for b in range(max(0, a - order), min(size, a + order + 1)):
                        if labels.get(a, kind) == labels.get(b, kind) == kind:
                            far[a] = min(far[a], far[b] + 1)
            steps.append(far)
        # A path's inner nodes have no label: it would be part of a shorter one.
        free = [node for node in range(size) if node not in labels]
        length = min((steps[0][u] + steps[1][u] for u in free), default=np.inf)
        if np.isfinite(length):
            half = (length // 2, length - length // 2)
            return {u for u in free if steps[0][u] + steps[1][u] == length and steps[0][u] in half}
    raise AssertionError


@settings(deadline=None, max_examples=30)
@given(size=st.integers(2, 14), data=st.data())
def test_agrees_with_walking_the_graph(size: int, data: st.DataObject) -> None:
    """Every node that is taken is the middle of a shortest path, until there is none."""
    truth = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    known = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3, unique=True))
    labels = {node: truth[node] for node in known}
    graph = graph_of(size, labels)
    while True:
        expected = middles(size, labels)
        found = graph.shortest_gap() or graph.nearest_boundary()
        if found is None:
            assert not expected
            break
        assert found[1] in expected
        labels[found[1]] = truth[found[1]]
        graph.add(found[1], truth[found[1]])
