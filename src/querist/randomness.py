"""Randomness that depends on what it is for, never on what was drawn before.

A generator's seed is derived from (seed, iteration, phase, purpose), so that a resumed run draws
the same numbers as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_globally = threading.RLock()

SETUP = -1
"""The `iteration` of what happens before the first iteration: splits, initial labels, weights."""


def derive_seed(seed: int, iteration: int, phase: str, purpose: str) -> int:
    """A seed in 0 .. 2**63 - 1 for one use of randomness."""
    text = f"{seed}\x1f{iteration}\x1f{phase}\x1f{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, iteration: int, phase: str, purpose: str) -> torch.Generator:
    """A CPU generator for one use of randomness."""
    return torch.Generator().manual_seed(derive_seed(seed, iteration, phase, purpose))


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Torch's, numpy's and Python's global generators, seeded inside and put back after.

    For what cannot be handed a generator: weight initialization, dropout, users' models. Threads
    wait for each other here, since all draw from the same generators.
    """
    import numpy as np

    with _globally, torch.random.fork_rng():
        numpy_state, python_state = np.random.get_state(), random.getstate()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
