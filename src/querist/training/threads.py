"""How many CPU threads training uses.

Small models are slower with more threads, by a factor of ten on a busy machine, so the number is
chosen, never left to chance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

SMALL_MODEL_PARAMETERS = 100_000
"""Below this many weights a step is too short to be shared between threads."""


def choose_threads(setting: Literal["auto"] | int, parameters: int) -> int:
    """The number of threads for a model with so many weights."""
    if setting != "auto":
        return setting
    return 1 if parameters < SMALL_MODEL_PARAMETERS else min(cores(), _share or cores())


def cores() -> int:
    """The cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_share: int | None = None


def share_cores(number: int | None) -> None:
    """Have `auto` take so many cores at most in this process from now on; None = all of them."""
    global _share
    _share = number


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch uses `count` threads inside, and what it used before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
