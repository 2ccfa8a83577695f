"""Cover while labels are few, then cluster what is uncertain: the query strategy to begin with.

With few labels, uncertainty is mostly ignorance and coverage saves more; later it is the other way
round: Active Learning on a Budget, Hacohen, Dekel and Weinshall, 2022, arXiv:2202.02794. The two
halves are those of Uncertainty Herding, Bae, Oliveira and Sutherland, 2024, arXiv:2412.20644, and
Diverse mini-batch Active Learning, Zhdanov, 2019, arXiv:1901.05954; when to go from one to the
other was fixed on scikit-learn's digits and confirmed on other data (docs/strategies.md).
"""

from __future__ import annotations

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import finite_number
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.values import Selection
from querist.views import View


@register("query", "cover_then_cluster")
class CoverThenCluster:
    """The default: uncertain samples that cover the others at first, later one of each cluster.

    Up to `labels_per_class` labels a class, on the mean, it is `uncertainty_herding` among the 20 n
    smallest margins, each of which counts alike; from then on `dbal` among the 10 n smallest
    margins, which count by the ratio of the second probability to the first.

    Args:
        labels_per_class: when it changes over; 0 = `dbal` from the start.
        space: where distances are measured: embeddings, features, or auto (embeddings where the
            learner has them).
    """

    about = About(
        paper="Bae, Oliveira and Sutherland, Uncertainty Herding, 2024, arXiv:2412.20644; "
        "Zhdanov, Diverse mini-batch Active Learning, 2019, arXiv:1901.05954",
        needs=(View.PROBABILITIES,),
        cost="n c + 400 k² d, later n c + 300 k² d",
    )

    def __init__(self, labels_per_class: float = 8, space: str = "auto") -> None:
        self.labels_per_class = finite_number("labels_per_class", labels_per_class, least=0)
        self._cover = UncertaintyHerding(beta=20, weight="none", space=space)
        self._cluster = DBAL(beta=10, weight="ratio", space=space)
        self.needs = self._cluster.needs

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n samples; scores count down to 1 at first, and are minus the margins later."""
        few = self.labels_per_class * (context.pool.classes or 0)
        strategy = self._cover if len(context.labeled) < few else self._cluster
        return strategy.sample(context, n)
