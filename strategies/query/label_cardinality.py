"""Label cardinality: an unusual number of labels, with a narrow margin between there and not there.

Active Learning with Multi-Label SVM Classification, Li and Guo, 2013,
https://mlanthology.org/ijcai/2013/li2013ijcai-active: max-margin uncertainty and label cardinality
inconsistency, multiplied. The paper tries several shares in each step and keeps the one whose pick
leaves the least error; here the share is an option.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import share
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View

NARROWEST = 1e-6
"""Margins (in logits) below it count as this much, so that a score is finite."""


def label_margins(probabilities: torch.Tensor) -> torch.Tensor:
    """The gap between the labels that are there and those that are not: `(m, c)` -> `(m,)`.

    In logits, from the least certain label on one side to the least certain on the other. Where all
    labels are on one side, the other one begins at the decision boundary itself, at 0.
    """
    end = torch.finfo(probabilities.dtype).eps
    logits = probabilities.clamp(end, 1 - end).logit()
    there = logits > 0
    lowest = logits.where(there, torch.inf).amin(1)
    highest = logits.where(~there, -torch.inf).amax(1)
    lowest = lowest.where(torch.isfinite(lowest), 0.0)
    return lowest - highest.where(torch.isfinite(highest), 0.0)


def label_cardinality_scores(
    probabilities: torch.Tensor, cardinality: float | None, margin_share: float
) -> torch.Tensor:
    """Margin uncertainty to one power, cardinality inconsistency to another: `(m, c)` -> `(m,)`.

    Args:
        probabilities: of each label.
        cardinality: how many labels a labeled sample has, on the mean; None while there are none,
            and the margin decides alone.
        margin_share: the power of the uncertainty, in 0 .. 1; the rest is that of the other.
    """
    uncertainty = 1 / label_margins(probabilities).clamp_min(NARROWEST)
    if cardinality is None:
        return uncertainty
    found = (probabilities > 0.5).sum(1).to(uncertainty.dtype)
    inconsistency = (found - cardinality).abs()
    return uncertainty.pow(margin_share) * inconsistency.pow(1 - margin_share)


@register("query", "label_cardinality")
class LabelCardinality:
    """Multi-label: samples with a narrow margin and more or fewer labels than labeled ones have.

    Args:
        margin_share: how much the margin counts, 0 .. 1: with 0 only the number of labels does,
            with 1 only the margin.
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.

    Raises:
        ConfigurationError: the share is not in 0 .. 1, or batch is unknown, or coldness below 0.
    """

    about = About(
        paper="Li and Guo, Active Learning with Multi-Label SVM Classification, 2013, "
        "https://mlanthology.org/ijcai/2013/li2013ijcai-active",
        needs=(View.LABEL_PROBABILITIES,),
        cost="n c + l c",
    )

    def __init__(
        self, margin_share: float = 0.5, batch: str = "top", coldness: float | None = None
    ) -> None:
        self.margin_share = share("margin_share", margin_share)
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest products of margin uncertainty and cardinality inconsistency."""

        def score(probabilities: torch.Tensor) -> torch.Tensor:
            return label_cardinality_scores(probabilities, cardinality, self.margin_share)

        known = len(context.labeled) and context.labeled.targets.ndim == 2
        cardinality = float(context.labeled.targets.double().sum(1).mean()) if known else None
        return self.batch.select(context, n, score, View.LABEL_PROBABILITIES)
