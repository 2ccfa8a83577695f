"""Uncertain samples that cover, while labels are few, then those of many clusters.

Two published strategies one after the other: Uncertainty Herding, Bae, Oliveira and Sutherland,
2024, arXiv:2412.20644 (its candidates all alike), and Diverse mini-batch Active Learning, Zhdanov,
2019, arXiv:1901.05954 (by odds in place of margins).
"""

from __future__ import annotations

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import candidates_factor, finite_number
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.scoring import check_count
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.values import Selection
from querist.views import View, require_views


@register("query", "cover_then_cluster")
class CoverThenCluster:
    """Uncertain samples that are like many others while labels are few, then one of each cluster.

    With fewer than `per_class` labels a class it is `uncertainty_herding` with power=0: few labels
    say little of how uncertain a sample is, so that this only chooses the candidates. From then on
    it is `dbal` with score=odds.

    Args:
        per_class: labels per class, on the mean, from which on samples are clustered.
        cover_beta: how many times n samples are candidates before that.
        cluster_beta: how many times n samples are candidates from then on.
        width: the bandwidth of `uncertainty_herding`.
        space: where distances are measured: features, for which it was tried, embeddings, or auto
            (embeddings where the learner has them).
    """

    about = About(
        paper="Bae, Oliveira and Sutherland, Uncertainty Herding: One Active Learning Method for "
        "All Label Budgets, 2024, arXiv:2412.20644; Zhdanov, Diverse mini-batch Active Learning, "
        "2019, arXiv:1901.05954",
        needs=(View.PROBABILITIES, View.FEATURES),
        cost="n c + cover_beta² k² d, then n c + 30 cluster_beta k² d",
    )

    def __init__(
        self,
        per_class: float = 8,
        cover_beta: float = 20,
        cluster_beta: float = 5,
        width: float = 0.7,
        space: str = "features",
    ) -> None:
        self.per_class = finite_number("per_class", per_class, least=0)
        cover_beta = candidates_factor("cover_beta", cover_beta)
        self.cover = UncertaintyHerding(beta=cover_beta, power=0, width=width, space=space)
        cluster_beta = candidates_factor("cluster_beta", cluster_beta)
        self.cluster = DBAL(beta=cluster_beta, score="odds", space=space)
        self.needs = self.cluster.needs

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What one of the two chooses, with its scores."""
        check_count(n)
        require_views(context.learner, (View.PROBABILITIES,), "cover_then_cluster")
        if not len(context.unlabeled):
            return Selection((), ())
        (one,) = context.look(context.unlabeled[:1], View.PROBABILITIES)
        few = len(context.labeled.indices) < self.per_class * one.shape[1]
        return (self.cover if few else self.cluster).sample(context, n)
