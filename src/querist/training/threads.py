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

_at_most: int | None = None


def choose_threads(setting: Literal["auto"] | int, parameters: int) -> int:
    """The number of threads for a model with so many weights."""
    if setting != "auto":
        return setting
    return 1 if parameters < SMALL_MODEL_PARAMETERS else cores()


def use_at_most(number: int | None) -> None:
    """From now on learners of this process that choose for themselves use no more than that.

    Args:
        number: how many; None = as many as there are.
    """
    global _at_most
    _at_most = number


def cores() -> int:
    """The cores that this process may use, where the system tells and nobody has set a limit."""
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    else:
        there = os.cpu_count() or 1
    return there if _at_most is None else min(there, _at_most)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch uses `count` threads inside, and what it used before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
