"""A simulator with measurement noise, to be learned from as few runs as possible.

The response is Friedman's ("Multivariate Adaptive Regression Splines", 1991,
doi:10.1214/aos/1176347963): five of ten inputs matter, two of them only together. It is scaled to a
mean of about 0 and a variance of about 1, so a mean squared error of 0.05 is 5 % of the variance.
"""

import math
import random
from collections.abc import Iterator

import torch

from querist.pools import TensorPool
from querist.requests import LabelRequest
from querist.values import Label

MEAN, SCALE = 14.4, 4.9


def response(inputs: torch.Tensor) -> torch.Tensor:
    """What the simulator would say without noise: inputs `(n, 10)` in 0..1, responses `(n,)`."""
    a, b, c, d, e = inputs[:, :5].T
    raw = 10 * torch.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e
    return (raw - MEAN) / SCALE


def design_points(n: int = 3000) -> TensorPool:
    """A pool of `n` inputs that may be simulated, and 1,000 others to test on, without noise."""
    inputs, test = torch.rand(n, 10), torch.rand(1000, 10)
    held_out = {"test": TensorPool(test, response(test))}
    return TensorPool(inputs, response(inputs), held_out=held_out)


class Simulator:
    """Simulates what it is asked for.

    Args:
        noise: standard deviation of what is added to a response.
    """

    asks_by_key = True  # a simulation that is asked for again has the same outcome

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """One response per input."""
        found = response(request.pool.features(request.indices)).tolist()
        for index, key, value in zip(request.indices.tolist(), request.keys, found, strict=True):
            yield Label(index, value + random.Random(key).gauss(0.0, self.noise))
