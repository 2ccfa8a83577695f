"""Mean standard deviation of the class probabilities over several models.

Semantic Segmentation of Small Objects and Modeling of Uncertainty in Urban Remote Sensing Images
Using Deep Convolutional Neural Networks, Kampffmeyer, Salberg and Jenssen, 2016,
doi:10.1109/CVPRW.2016.90; for active learning: Deep Bayesian Active Learning with Image Data, Gal,
Islam and Ghahramani, 2017, arXiv:1703.02910.
"""

from __future__ import annotations

import torch

from querist.about import About
from querist.context import QueryContext
from querist.registry import register
from querist.strategies.query.stochastic import Batch
from querist.values import Selection
from querist.views import View


def mean_std_scores(samples: torch.Tensor) -> torch.Tensor:
    """Standard deviation over the models, mean over the classes: `(t, m, c)` -> `(m,)` in 0 .. 0.5.

    Of all t models, not an estimate from a sample of them: divided by t.
    """
    # Model by model: a sum over a stacked dimension may round by where in the chunk a sample is.
    mean, squares = torch.zeros_like(samples[0]), torch.zeros_like(samples[0])
    for probabilities in samples:
        mean = mean + probabilities
    mean = mean / len(samples)
    for probabilities in samples:
        squares = squares + (probabilities - mean).square()
    return (squares / len(samples)).sqrt().mean(1)


@register("query", "mean_std")
class MeanStd:
    """The samples whose class probabilities differ most from model to model.

    Args:
        batch: `top` chooses the highest scores. `power`, `softmax` and `softrank` draw by them, see
            `querist.strategies.query.stochastic.Batch`.
        coldness: how closely the draw follows the scores; 0 is a uniform draw. Default: 1.
    """

    about = About(
        paper="Kampffmeyer, Salberg and Jenssen, Semantic Segmentation of Small Objects and "
        "Modeling of Uncertainty in Urban Remote Sensing Images Using Deep Convolutional Neural "
        "Networks, 2016, doi:10.1109/CVPRW.2016.90",
        needs=(View.PROBABILITY_SAMPLES,),
        cost="t n c",
    )

    def __init__(self, batch: str = "top", coldness: float | None = None) -> None:
        self.batch = Batch.of(batch, coldness)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest mean standard deviations, the highest first."""
        return self.batch.select(context, n, mean_std_scores, View.PROBABILITY_SAMPLES)
