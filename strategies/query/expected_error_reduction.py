"""Expected error reduction: the sample whose label leaves the least uncertainty in the pool.

Toward Optimal Active Learning through Sampling Estimation of Error Reduction, Roy and McCallum,
2001, ICML. It is the most expensive of the classical strategies: a model is refitted for each
sample and each of its labels. Here the model is a small softmax head on principal components, all
refits of some samples are one batch, and the rest of the pool is a sample of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError
from querist.registry import register
from querist.strategies.drawing import at_most
from querist.strategies.options import finite_number, whole_number
from querist.strategies.query.scoring import check_count
from querist.strategies.query.softmax_head import SoftmaxHead
from querist.strategies.query.space import Space
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View, require_views

BLOCK = 2**20
"""So many weights, or logits, of refitted heads at a time."""
MOST_WEIGHTS = 5_000
"""Of one head: its curvature is a matrix of so many rows, 200 MB of them."""
LEAST_PENALTY = 1e-6


@register("query", "expected_error_reduction")
class ExpectedErrorReduction:
    """The samples whose label is expected to make the rest of the pool surest. Small pools.

    The head gets as many principal components as there are dimensions, of the embeddings or the
    features of all samples that are looked at. Labels are as likely as the learner predicts.

    Args:
        at_most: a larger pool is refused, unless `candidates` are drawn.
        candidates: only so many, drawn at random, are looked at; at least n. Default: all.
        targets: how many samples, drawn at random, stand for the rest of the pool.
        dimensions: principal components that the head sees.
        penalty: weight of the head's squared weights; components are scaled to a mean square of 1.
        space: what the head sees: embeddings, features, or auto (embeddings where the learner has
            them).
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`; for `power` an increase counts as 0.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Roy and McCallum, Toward Optimal Active Learning through Sampling Estimation of "
        "Error Reduction, 2001, ICML",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n (c^3 e^2 + s c^2 e + l c^2 e), e = 33 weights a class, s = 200 targets",
    )

    def __init__(
        self,
        at_most: int = 2_000,
        candidates: int | None = None,
        targets: int = 200,
        dimensions: int = 32,
        penalty: float = 1.0,
        space: str = "auto",
        batch: str = "top",
        coldness: float | None = None,
    ) -> None:
        self.at_most = whole_number("at_most", at_most, least=1)
        self.candidates = None
        if candidates is not None:
            self.candidates = whole_number("candidates", candidates, least=1)
        self.targets = whole_number("targets", targets, least=1)
        self.dimensions = whole_number("dimensions", dimensions, least=1)
        self.penalty = finite_number("penalty", penalty, least=0)
        if self.penalty < LEAST_PENALTY:
            raise ConfigurationError(
                f"penalty is a number of at least {LEAST_PENALTY:g}, not {penalty!r}: raise it, "
                "few labels do not determine a head without it"
            )
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest reductions of the mean entropy elsewhere, in nats, the highest first.

        Raises:
            StrategyError: the pool is larger than `at_most` and no candidates are drawn, or the
                head would have too many weights.
        """
        check_count(n)
        require_views(context.learner, (View.PROBABILITIES,), "expected_error_reduction")
        view = self.space.view(context.learner)
        size = len(context.unlabeled)
        if n == 0 or size == 0:
            return Selection((), ())
        if self.candidates is None and size > self.at_most:
            raise StrategyError(
                f"expected_error_reduction refits a model for each sample and label of a pool of "
                f"at most {self.at_most:,} samples, and here are {size:,}: set candidates, to draw "
                "so many of them, or raise at_most"
            )
        asked = _drawn(context, max(n, self.candidates or size))
        elsewhere = _drawn(context, self.targets)
        scored = self._scored(context, view, asked, elsewhere)
        return self.batch.among(context, n, scored)

    def _scored(
        self, context: QueryContext, view: View, asked: torch.Tensor, elsewhere: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Candidates `(m,)` and by how much each is expected to lower the entropy elsewhere."""
        probabilities = context.of(asked, View.PROBABILITIES).cpu().double()
        classes = probabilities.shape[1]
        labeled = context.labeled.indices
        parts = [context.of(some, view).cpu().double() for some in (asked, elsewhere)]
        parts.append(context.of(labeled, view).cpu().double() if len(labeled) else parts[0][:0])
        inputs, others, known = components_of(parts, self.dimensions)
        width = inputs.shape[1]
        if width * classes > MOST_WEIGHTS:
            raise StrategyError(
                f"the head of expected_error_reduction has at most {MOST_WEIGHTS:,} weights, and "
                f"{classes:,} classes of {width} inputs are {width * classes:,}: lower dimensions"
            )
        head = SoftmaxHead(known, context.labeled.targets.cpu(), classes, self.penalty)
        before = _entropies(others @ head.weights)
        rows = max(1, BLOCK // (classes**2 * max(width, len(others), len(known))))
        for at in torch.arange(len(asked)).split(rows):
            after = _entropies(others @ head.with_one_more(inputs[at]))
            lowered = ((before - after) * probabilities[at, :, None]).sum(1)
            # What a sample says about itself is no prediction.
            elsewhere_only = (asked[at, None] != elsewhere).double()
            number = elsewhere_only.sum(1).clamp_min(1)
            yield asked[at], (lowered * elsewhere_only).sum(1) / number


def _drawn(context: QueryContext, number: int) -> torch.Tensor:
    """So many unlabeled samples, ascending; all of them where there are no more."""
    return context.unlabeled[at_most(len(context.unlabeled), number, context.generator)]


def components_of(parts: list[torch.Tensor], dimensions: int) -> list[torch.Tensor]:
    """Parts of a matrix `(m, d)` by principal components of all rows, and a 1: `(m, e + 1)` each.

    All are scaled alike, so that the mean square of a component is 1; components that are 0 are
    left out.
    """
    rows = torch.cat(parts)
    mean = rows.mean(0)
    largest = (rows - mean).abs().max().clamp_min(torch.finfo(rows.dtype).tiny)
    centred = (rows - mean) / largest
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(dimensions, max(1, int((values > 1e-9 * values[0]).sum())))
    found = centred @ axes[:kept].T
    scale = found.square().mean().sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    found = torch.cat([found / scale, torch.ones_like(found[:, :1])], dim=1)
    return list(found.split([len(part) for part in parts]))


def _entropies(logits: torch.Tensor) -> torch.Tensor:
    """Of softmax predictions, in nats: `(..., c)` -> `(...)`."""
    entropies: torch.Tensor = torch.special.entr(logits.softmax(-1)).sum(-1)
    return entropies
