"""Passes of a pool's features through a module, chunk by chunk, beside those of `TorchLearner`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from querist.learners.scoring import CHUNK, chunk_by_chunk
from querist.learners.torch_learner import TorchLearner
from querist.training.batches import to_device
from querist.training.threads import torch_threads


def in_chunks(
    learner: TorchLearner,
    features: torch.Tensor,
    one: Callable[[torch.Tensor], torch.Tensor],
    *,
    rows: int = 0,
) -> torch.Tensor:
    """What `one` gives for all features, on the CPU; the module is in evaluation mode.

    Args:
        learner: whose device and type features are brought to, and whose threads it takes.
        features: `(n, ...)`.
        one: features on the device -> anything with as many rows.
        rows: the dimension of the result that counts rows.
    """
    learner.module.eval()
    with torch.no_grad(), torch_threads(learner.threads):
        return chunk_by_chunk(
            features,
            CHUNK,
            lambda part: one(to_device(part, learner.device, learner.dtype)).cpu(),
            rows=rows,
        )
