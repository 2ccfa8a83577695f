"""Greedy sampling in the input and the output space, iGS.

Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, arXiv:1808.04245.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.geometry.points import Points, nearest_to_the_mean, squared_distances
from querist.strategies.query.scoring import check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views

_HOT = 4096
_CENTRES = 1024


@register("query", "greedy_both")
class GreedyBoth:
    """The samples farthest from all labeled and chosen ones in features times numbers (iGS).

    Distance is the product of that between features and that between the predicted number and the
    label. A chosen sample counts as labeled with its prediction until the batch is full. Features
    should be of one scale.

    Args:
        space: `features`, `embeddings` or `auto`, which is embeddings where the learner has them.
    """

    about = About(
        paper="Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, 2019, "
        "arXiv:1808.04245",
        needs=(View.NUMBERS, View.FEATURES),
        cost="n l d, and less than k n d",
    )

    def __init__(self, space: str = "features") -> None:
        self.space = Space(space)
        self.needs = (View.NUMBERS, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """Each is the one with the largest product; without any labels, first the features' mean's.

        Raises:
            StrategyError: the learner predicts no numbers.
        """
        check_count(n)
        require_views(context.learner, self.needs, "greedy_both")
        n = min(n, len(context.unlabeled))
        if n == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        # Gathered together, so that the learner passes the pool once.
        numbers, values = context.gather_all(View.NUMBERS, view)
        numbers = numbers.double()
        search = _Search(Points(values), numbers.to(values.device))
        if len(context.labeled):
            labels = context.labeled.targets.reshape(len(context.labeled), -1)
            search.know(context.of_labeled(view), labels)
        else:
            search.pick(nearest_to_the_mean(values))
        while len(search.picks) < n:
            search.round(n)
        return in_order(context, torch.tensor(search.picks))


class _Search:
    """Products only fall, so that old ones are bounds: picks are made among the highest of them.

    After a pass over all candidates the highest few thousand are looked at alone, as long as one
    of them is above all that the others were; then the new centres are applied to the others.
    """

    def __init__(self, points: Points, numbers: torch.Tensor) -> None:
        self.points, self.numbers = points, numbers
        self.bounds = torch.full((len(points),), torch.inf, device=points.device)
        self.picks: list[int] = []
        self._applied = 0
        """How many of the picks all bounds know of."""

    def know(self, values: torch.Tensor, labels: torch.Tensor) -> None:
        """Labeled samples `(l, d)` and their labels `(l, c)`."""
        self._pass(self.points.moved(values), labels.to(self.numbers))

    def pick(self, position: int) -> None:
        self.picks.append(position)
        self.bounds[position] = -1

    def round(self, n: int) -> None:
        """Pick at least one, and at most as many as there are to be."""
        new = torch.tensor(self.picks[self._applied :], dtype=torch.int64)
        self._pass(self.points.take(new), self.numbers[new.to(self.numbers.device)])
        self._applied = len(self.picks)
        self.pick(int(self.bounds.argmax()))
        highest = self.bounds.topk(min(_HOT, len(self.bounds)))
        whole = len(highest.values) == len(self.bounds)
        outside = -1.0 if whole else float(highest.values[-1])
        hot = highest.indices.sort().values
        rows, numbers = self.points.take(hot), self.numbers[hot]
        bounds, last = self.bounds[hot], self.picks[-1]
        while len(self.picks) < n:
            at = torch.tensor([last], device=self.points.device)
            found = _products(rows, numbers, self.points.take(at), self.numbers[at])
            bounds = torch.minimum(bounds, found)
            best = int(bounds.argmax())
            # What is level with the others waits: of equal ones the first is to be picked.
            if not float(bounds[best]) > outside:
                break
            last = int(hot[best])
            self.pick(last)
            bounds[best] = -1

    def _pass(self, centres: torch.Tensor, labels: torch.Tensor) -> None:
        """Apply centres `(m, d)` with their numbers `(m, c)` to all bounds."""
        for some, known in zip(centres.split(_CENTRES), labels.split(_CENTRES), strict=True):
            for begin, end, rows in self.points.chunks():
                bounds = self.bounds[begin:end]
                found = _products(rows, self.numbers[begin:end], some, known)
                torch.minimum(bounds, found, out=bounds)


def _products(
    rows: torch.Tensor, numbers: torch.Tensor, centres: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The least product of squared distances in both spaces, for each row `(m,)`."""
    if not len(centres):
        return torch.full((len(rows),), torch.inf, device=rows.device)
    away = torch.cdist(numbers, labels, compute_mode="donot_use_mm_for_euclid_dist").square()
    return (squared_distances(rows, centres) * away).amin(1).float()
