"""Holds a run in the phase that the file $HELD names. On the tests' import path.

While it holds, the file `$HELD.reached` is there.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.two_moons.model import MoonClassifier
from querist.strategies.metrology.f1 import F1
from querist.strategies.query.random import Random


def hold(phase: str) -> None:
    """Block while this phase is to be held."""
    file = Path(os.environ["HELD"])
    while file.exists() and file.read_text() == phase:
        file.with_suffix(".reached").touch()
        time.sleep(0.05)


class Model(MoonClassifier):
    """Its import arms the strategies; its training is held too."""

    def forward(self, x: Any) -> Any:
        if self.training:
            hold("train")
        return super().forward(x)


def label(point: Any) -> int:
    """Ask somebody who keeps a list of what was asked."""
    hold("label")
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{point.tolist()}\n")
    return int(point[1] < 0.25)


def _held(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # its signature says what kind of strategy it is
    def first_hold(*args: Any, **options: Any) -> Any:
        hold(phase)
        return function(*args, **options)

    return first_hold


F1.compute = _held("metrology", F1.compute)  # type: ignore[method-assign]
Random.sample = _held("query", Random.sample)  # type: ignore[method-assign]
