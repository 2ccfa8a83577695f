"""Expected predictive information gain: what a label would say about predictions elsewhere.

Prediction-Oriented Bayesian Active Learning, Bickford Smith, Kirsch, Farquhar, Gal, Foster and
Rainforth, 2023, arXiv:2304.08151.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.options import whole_number
from querist.strategies.query.random import distinct_positions
from querist.strategies.query.scoring import check_count
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View, require_views

BLOCK = 2**20
"""So many pairs of labels, of candidates and of targets, are held at a time."""


class Targets:
    """Inputs at which predictions should become better.

    Args:
        samples: their class probabilities by each model `(t, s, c)`.
    """

    def __init__(self, samples: torch.Tensor) -> None:
        models, self._number, self._classes = samples.shape
        deviations, mean = deviations_from_mean(samples)
        self._deviations = deviations.reshape(models, -1)
        self._mean = mean.reshape(-1)

    def scores(self, samples: torch.Tensor) -> torch.Tensor:
        """Mutual information of a sample's label and a target's, in nats, the mean over targets.

        With p and q the mean predictions of the two, their joint prediction is p q (1 + d), and d
        the mean product of the models' relative deviations from p and q. The information is the
        sum of p q ((1 + d) log(1 + d) - d), where no two large numbers are subtracted; only
        matrices of one chunk by some targets are built.

        Args:
            samples: class probabilities of m samples by each model `(t, m, c)`.

        Returns:
            `(m,)`, at least 0.
        """
        models, number, classes = samples.shape
        own, mean = deviations_from_mean(samples)
        own = own.reshape(models, -1).T / models
        columns = self._deviations.shape[1]
        width = max(1, min(columns, BLOCK // classes))
        height = max(1, BLOCK // (width * classes)) * classes
        found = []
        for rows in own.split(height):
            total = torch.zeros_like(rows[:, 0])
            for part, weight in zip(
                self._deviations.split(width, dim=1), self._mean.split(width), strict=True
            ):
                d = (rows @ part).clamp_min_(-1 + torch.finfo(rows.dtype).eps)
                total += d.log1p().mul_(1 + d).sub_(d) @ weight
            found.append(total)
        by_label = torch.cat(found).reshape(number, classes) * mean
        return (by_label.sum(1) / self._number).clamp_min_(0)


def deviations_from_mean(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of class probabilities `(t, m, c)`: how far each model is from the mean, and the mean.

    The first `(t, m, c)` as a share of the mean; the second `(m, c)`.
    """
    mean = samples.mean(0)
    return samples / mean.clamp_min(torch.finfo(mean.dtype).tiny) - 1, mean


@register("query", "epig")
class Epig:
    """The samples whose labels would say most about the predictions for the rest of the pool.

    BALD asks about the model, and so about samples that are like no other; this asks about what is
    to be predicted.

    Args:
        targets: how many samples stand for the rest of the pool, drawn at random; all of them where
            there are no more.
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Bickford Smith, Kirsch, Farquhar, Gal, Foster and Rainforth, Prediction-Oriented "
        "Bayesian Active Learning, 2023, arXiv:2304.08151",
        needs=(View.PROBABILITY_SAMPLES,),
        cost="n s t c^2, s = 100 targets",
    )

    def __init__(
        self, targets: int = 100, batch: str = "top", coldness: float | None = None
    ) -> None:
        self.targets = whole_number("targets", targets, least=1)
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest gains, in nats, the highest first."""
        check_count(n)
        require_views(context.learner, self.about.needs, "the query strategy epig")
        size = len(context.unlabeled)
        if n == 0 or size == 0:
            return Selection((), ())
        drawn = distinct_positions(size, min(self.targets, size), context.generator)
        targets = Targets(context.of(context.unlabeled[drawn.sort().values], self.about.needs[0]))
        return self.batch.select(context, n, targets.scores, View.PROBABILITY_SAMPLES)
