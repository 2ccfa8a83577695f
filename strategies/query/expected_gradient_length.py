"""Expected gradient length: how far a label, whichever it is, would move the last layer.

Multiple-Instance Active Learning, Settles, Craven and Ray, 2007, Advances in Neural Information
Processing Systems 20.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.rows import row_sums
from querist.strategies.query.scoring import check_count
from querist.strategies.query.space import Space
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View, require_views


def expected_gradient_lengths(probabilities: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Mean length of the gradient of the last layer over its label: `(m, c)`, `(m, d)` -> `(m,)`.

    For the label y the gradient of a softmax layer's cross-entropy is the outer product of p less
    the one-hot of y with what goes into the layer and a 1 for its bias. Its length is the product
    of the two lengths, so that no gradient is built. Labels are as likely as they are predicted.
    """
    p = probabilities.double()
    squares = p.square()
    others = (row_sums(squares)[:, None] - squares).clamp_min_(0)
    errors = others.add_((1 - p).square()).sqrt_()
    lengths = (row_sums(inputs.double().square()) + 1).sqrt_()
    return row_sums(p * errors) * lengths.to(p.device)


@register("query", "expected_gradient_length")
class ExpectedGradientLength:
    """The samples whose label is expected to move a softmax model's last layer most.

    Args:
        space: what goes into the last layer: embeddings, features, or auto (embeddings where the
            learner has them; features are what goes into a linear model).
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Settles, Craven and Ray, Multiple-Instance Active Learning, 2007, NIPS 20",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n (c + d)",
    )

    def __init__(
        self, space: str = "auto", batch: str = "top", coldness: float | None = None
    ) -> None:
        self.space = Space(space)
        self.needs = (View.PROBABILITIES, self.space.needs)
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n longest gradients, the longest first."""
        check_count(n)
        require_views(context.learner, (View.PROBABILITIES,), "expected_gradient_length")
        view = self.space.view(context.learner)
        return self.batch.select(context, n, expected_gradient_lengths, View.PROBABILITIES, view)
