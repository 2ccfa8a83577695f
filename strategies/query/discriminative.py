"""Discriminative active learning: the samples that are easily told from the labeled ones.

Gissin and Shalev-Shwartz, Discriminative Active Learning, 2019, arXiv:1907.06347.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.drawing import at_most, distinct_positions
from querist.strategies.geometry.points import Points
from querist.strategies.options import whole_number
from querist.strategies.query.scoring import TopScores, check_count, in_order
from querist.strategies.query.space import Space
from querist.values import Selection
from querist.views import View, require_views

_RATE = 1e-2
_DECAY = 1e-4


@register("query", "discriminative")
class Discriminative:
    """The samples that a classifier takes for unlabeled most surely, told from the labeled ones.

    A small network learns, by embeddings, to tell labeled samples from unlabeled ones; the labels'
    values have no say. The batch is taken in parts, and what was taken counts as labeled for the
    next part.

    Args:
        sub_batches: in how many parts the batch is taken; the network is trained for each.
        hidden: units of its hidden layer; 0 = logistic regression.
        steps: of its training, over all of its samples at a time.
        examples: unlabeled samples that it is trained on at most, drawn at random; all are scored.
        space: `embeddings`, `features` or `auto`, which is embeddings where the learner has them.
    """

    about = About(
        paper="Gissin and Shalev-Shwartz, Discriminative Active Learning, 2019, arXiv:1907.06347",
        needs=(View.FEATURES,),
        cost="b (n + s (l + m)) d h, b parts, s steps, m examples, h hidden units",
    )

    def __init__(
        self,
        sub_batches: int = 10,
        hidden: int = 64,
        steps: int = 200,
        examples: int = 10_000,
        space: str = "auto",
    ) -> None:
        self.sub_batches = whole_number("sub_batches", sub_batches, least=1)
        self.hidden = whole_number("hidden", hidden, least=0)
        self.steps = whole_number("steps", steps, least=1)
        self.examples = whole_number("examples", examples, least=1)
        self.space = Space(space)
        self.needs = (self.space.needs,)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n samples, part by part, in each the most surely unlabeled one first.

        Where nothing is labeled yet, the first part is drawn at random.
        """
        check_count(n)
        require_views(context.learner, self.needs, "discriminative")
        size = len(context.unlabeled)
        n = min(n, size)
        if n == 0:
            return Selection((), ())
        view = self.space.view(context.learner)
        points = Points(context.gather(view))
        known = points.take(torch.empty(0, dtype=torch.int64))
        if len(context.labeled):
            known = points.moved(context.of_labeled(view))
        free = torch.ones(size, dtype=torch.bool)
        chosen = torch.empty(0, dtype=torch.int64)
        for part in _parts(n, self.sub_batches):
            if len(known) + len(chosen) == 0:
                found = distinct_positions(size, part, context.generator)
            else:
                labeled = torch.cat([known, points.take(chosen)])
                found = self._surest(points, labeled, free, part, context.generator)
            free[found] = False
            chosen = torch.cat([chosen, found])
        return in_order(context, chosen)

    def _surest(
        self,
        points: Points,
        labeled: torch.Tensor,
        free: torch.Tensor,
        n: int,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Positions of the n free points `(n,)` that look least like the labeled ones."""
        there = free.nonzero()[:, 0]
        examples = there[at_most(len(there), self.examples, generator)]
        network = _Discriminator(labeled, points.take(examples), self.hidden, generator)
        network.train(self.steps)
        top = TopScores(n)
        for begin, end, rows in points.chunks():
            positions = torch.arange(begin, end)[free[begin:end]]
            # Logits: probabilities of all that is surely unlabeled would be 1.
            top.offer(positions, network.logits(rows).cpu()[free[begin:end]])
        return torch.tensor(top.selection().indices)


def _parts(n: int, parts: int) -> list[int]:
    """n divided into at most so many parts, larger ones first, none empty."""
    parts = min(parts, n)
    return [n // parts + (part < n % parts) for part in range(parts)]


class _Discriminator:
    """Logits of being unlabeled, by a network of at most one hidden layer.

    Both kinds weigh the same, however many there are.

    Args:
        labeled: points `(l, d)`.
        unlabeled: points `(m, d)`.
        hidden: units; 0 = none.
        generator: draws the first weights.
    """

    def __init__(
        self,
        labeled: torch.Tensor,
        unlabeled: torch.Tensor,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        x = torch.cat([labeled, unlabeled])
        spread = x.std(0, correction=0)
        self._middle = x.mean(0)
        # A number that is always the same tells nothing, and rounding errors are no spread.
        steady = spread <= 1e-6 * x.abs().amax(0)
        self._scale = torch.where(steady, 0.0, 1 / torch.where(steady, 1.0, spread))
        self._x = self._standard(x)
        self._y = torch.cat([x.new_zeros(len(labeled)), x.new_ones(len(unlabeled))])
        shares = (x.new_full((len(part),), 0.5 / len(part)) for part in (labeled, unlabeled))
        self._weights = torch.cat(list(shares))
        widths = [x.shape[1], hidden, 1] if hidden else [x.shape[1], 1]
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        for inputs, outputs in pairwise(widths):
            drawn = torch.randn(inputs, outputs, generator=generator).to(x.device)
            weights = drawn * (2 / max(1, inputs)) ** 0.5
            bias = torch.zeros(outputs, device=x.device)
            self._layers.append((weights.requires_grad_(), bias.requires_grad_()))

    def _standard(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self._middle) * self._scale

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        *inner, (weights, bias) = self._layers
        for first, shift in inner:
            x = torch.addmm(shift, x, first).relu()
        return torch.addmm(bias, x, weights)[:, 0]

    def train(self, steps: int) -> None:
        """So many steps over all samples."""
        parameters = [tensor for layer in self._layers for tensor in layer]
        optimizer = torch.optim.Adam(parameters, lr=_RATE, weight_decay=_DECAY)
        for _ in range(steps):
            with torch.enable_grad():
                loss = F.binary_cross_entropy_with_logits(
                    self._forward(self._x), self._y, self._weights, reduction="sum"
                )
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Higher = more surely unlabeled, `(m,)` for points `(m, d)`."""
        with torch.no_grad():
            return self._forward(self._standard(x))
