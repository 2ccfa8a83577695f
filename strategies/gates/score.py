"""A metric of one model as a function of the samples that it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Score:
    """A metric of one model as a function of the samples that it is measured on.

    Attributes:
        of: the metric on samples, given as positions `(k,)`; one that stands there twice counts
            twice.
        each: `(n,)`, where the metric is its mean; None where it is not a mean.
    """

    of: Callable[[torch.Tensor], float]
    each: torch.Tensor | None = None
