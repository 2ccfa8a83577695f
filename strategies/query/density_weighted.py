"""Information density: uncertain samples that are like many others.

An Analysis of Active Learning Strategies for Sequence Labeling Tasks, Settles and Craven, 2008,
doi:10.3115/1613715.1613855.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import finite_number, one_of
from querist.strategies.query.entropy import entropy_scores
from querist.strategies.query.least_confidence import least_confidence_scores
from querist.strategies.query.margin import one_less_margin
from querist.strategies.query.scoring import check_count
from querist.strategies.query.space import Space
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View, require_views

SCORES = {
    "entropy": entropy_scores,
    "least_confidence": least_confidence_scores,
    "margin": one_less_margin,
}


@register("query", "density_weighted")
class DensityWeighted:
    """The samples with the highest uncertainty times mean similarity to the pool.

    The similarity of two samples is the cosine between them, so that the mean over the whole pool
    is the product with one mean vector: it costs two passes, whatever the pool's size. Outliers,
    which are uncertain and like nothing else, are left alone. With beta=1 it needs more labels than
    random sampling on the digits of scikit-learn, whose features are all positive and therefore all
    alike in their cosines; a smaller beta does less harm there, and none helps.

    Args:
        beta: exponent of the similarity; 0 leaves the uncertainty alone.
        score: the uncertainty: entropy, least_confidence or margin (1 less the margin).
        space: where similarity is measured: embeddings, features, or auto (embeddings where the
            learner has them).
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Settles and Craven, An Analysis of Active Learning Strategies for Sequence Labeling "
        "Tasks, 2008, doi:10.3115/1613715.1613855",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c + n d",
    )

    def __init__(
        self,
        beta: float = 1,
        score: str = "entropy",
        space: str = "auto",
        batch: str = "top",
        coldness: float | None = None,
    ) -> None:
        self.beta = finite_number("beta", beta, least=0)
        self.score = SCORES[one_of("score", score, tuple(SCORES))]
        self.space = Space(space)
        self.batch = Batch.of(batch, coldness)
        self.needs = (View.PROBABILITIES, self.space.needs)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest products; the scores are the products."""
        check_count(n)
        require_views(context.learner, (View.PROBABILITIES,), "density_weighted")
        view = self.space.view(context.learner)
        if not n or not len(context.unlabeled):
            return Selection((), ())
        total: torch.Tensor | None = None
        # In one pass with the probabilities, which are then kept for the second.
        for _, _, values in context.stream(View.PROBABILITIES, view):
            lengths = _unit(values).sum(0)
            total = lengths if total is None else total + lengths
        assert total is not None
        mean = total / len(context.unlabeled)

        def weighted(probabilities: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            similarity = (_unit(values) * mean).sum(1).clamp_min(0)
            uncertainty = self.score(probabilities).to(similarity)
            return uncertainty * similarity.pow(self.beta)

        return self.batch.select(context, n, weighted, View.PROBABILITIES, view)


def _unit(values: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, in float64; rows of zeros stay what they are."""
    rows = values.double()
    largest = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.nn.functional.normalize(rows / largest, dim=1)
