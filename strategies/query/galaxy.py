"""GALAXY: class boundaries are bisected in rankings of the pool, and both of their sides are asked.

Zhang, Katz-Samuels and Nowak, GALAXY: Graph-based Active Learning at the Extreme, 2022,
arXiv:2202.01402.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import StrategyError
from querist.registry import register
from querist.strategies.drawing import at_most, distinct_positions
from querist.strategies.options import whole_number
from querist.strategies.query.ranked_graph import RankedGraph
from querist.strategies.query.scoring import check_count, in_order, top_two
from querist.values import Selection
from querist.views import View, require_views

MOST_PLACES = 2**28
"""Samples times classes: their places take 4 bytes each, twice."""


@register("query", "galaxy")
class Galaxy:
    """Samples about equally from both sides of each class's boundary, for strong imbalance.

    For each class, all samples stand in a row, by how much more probable the class is than any
    other. Two labeled neighbours in the row of which one alone is of the class have a boundary
    between them: the shortest such gap of all rows is bisected until no gap is left, then the
    samples next to the boundaries are taken. Where the labels show no boundary, samples are drawn
    at random.

    The paper asks for labels one by one. Here a batch is chosen before it is labeled: a sample that
    was chosen counts as the class that the learner predicts.

    Args:
        candidates: so many of the pool stand in the rows, drawn at random; None = all.
    """

    about = About(
        paper="Zhang, Katz-Samuels and Nowak, GALAXY: Graph-based Active Learning at the Extreme, "
        "2022, arXiv:2202.01402",
        needs=(View.PROBABILITIES,),
        cost="c n log n + k c (k + l)",
    )

    def __init__(self, candidates: int | None = None) -> None:
        self.candidates = (
            None if candidates is None else whole_number("candidates", candidates, least=1)
        )

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n samples in the order in which they were taken.

        Raises:
            StrategyError: rows of all samples take too much memory.
        """
        check_count(n)
        require_views(context.learner, (View.PROBABILITIES,), "galaxy")
        size = len(context.unlabeled)
        n = min(n, size)
        if n == 0:
            return Selection((), ())
        most = size if self.candidates is None else max(n, self.candidates)
        positions = at_most(size, most, context.generator)
        if len(positions) < size:
            proba = _of(context, positions)
        else:
            proba = context.gather(View.PROBABILITIES)
        chosen = _chosen(_graphs(context, proba), _believed(proba), n)
        if len(chosen) < n:
            left = np.setdiff1d(np.arange(len(positions)), chosen)
            more = distinct_positions(len(left), n - len(chosen), context.generator)
            chosen += left[more.numpy()].tolist()
        return in_order(context, positions[torch.tensor(chosen)])


def _of(context: QueryContext, positions: torch.Tensor) -> torch.Tensor:
    return replace(context, unlabeled=context.unlabeled[positions]).gather(View.PROBABILITIES)


def _believed(probabilities: torch.Tensor) -> np.ndarray:
    """The most probable class of each sample `(n,)`."""
    return probabilities.argmax(1).numpy(force=True)


def _graphs(context: QueryContext, probabilities: torch.Tensor) -> list[RankedGraph]:
    """A row for each class; two classes have the same row, from either end."""
    classes = probabilities.shape[1]
    labels = context.labeled.targets.numpy()
    places = (len(probabilities) + len(labels)) * classes
    if places > MOST_PLACES:
        raise StrategyError(
            f"galaxy ranks samples for every class, at most {MOST_PLACES:,} places, and these are "
            f"{places:,}: set candidates to {max(1, MOST_PLACES // classes - len(labels)):,} or "
            "less"
        )
    if not len(labels):
        return []
    known = context.of_labeled(View.PROBABILITIES).to(probabilities.device)
    everything = torch.cat([probabilities, known])
    first, second = top_two(everything)
    highest = everything.argmax(1)
    graphs = []
    for k in range(1 if classes == 2 else classes):
        lead = everything[:, k] - torch.where(highest == k, second, first)
        # Stable: what is level stands in the order of the pool.
        graphs.append(RankedGraph(lead.argsort(stable=True).numpy(force=True), k))
    for node, label in enumerate(labels.tolist(), len(probabilities)):
        for graph in graphs:
            graph.add(node, label)
    return graphs


def _chosen(graphs: list[RankedGraph], believed: np.ndarray, n: int) -> list[int]:
    """Up to n nodes, fewer when no boundary is known."""
    chosen: list[int] = []
    while len(chosen) < n:
        found = [gap for graph in graphs if (gap := graph.shortest_gap()) is not None]
        if not found:
            found = [near for graph in graphs if (near := graph.nearest_boundary()) is not None]
        if not found:
            break
        # Of equal ones that of the first class.
        _, node = min(found, key=lambda pair: pair[0])
        for graph in graphs:
            graph.add(node, int(believed[node]))
        chosen.append(node)
    return chosen
