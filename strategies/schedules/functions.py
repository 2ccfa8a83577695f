"""Numbers that follow from the iteration's: what `adaptive` schedules are made of.

Each is computed from the iteration alone, not from the value before, so that it is as exact in
iteration 100,000 as in the first one. What is too large for a number is infinite: a cap bounds it.
"""

from __future__ import annotations

import math

from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.options import finite_number, whole_number
from querist.values import History


@register("schedule_function", "linear")
def linear(iteration: int, _history: History, /, *, start: float, slope: float) -> float:
    """`start + slope * iteration`.

    Args:
        iteration: which one, from 0.
        start: the value in iteration 0.
        slope: what each iteration adds; negative to fall.
    """
    return finite_number("start", start) + finite_number("slope", slope) * iteration


@register("schedule_function", "exponential")
def exponential(iteration: int, _history: History, /, *, start: float, factor: float) -> float:
    """`start * factor ** iteration`.

    Args:
        iteration: which one, from 0.
        start: the value in iteration 0.
        factor: what each iteration multiplies it by, above 0; below 1 to fall.
    """
    return _grown(start, factor, iteration)


@register("schedule_function", "cosine")
def cosine(
    iteration: int, _history: History, /, *, start: float, end: float, iterations: int
) -> float:
    """Half a cosine wave from `start` to `end`, and `end` from then on.

    Args:
        iteration: which one, from 0.
        start: the value in iteration 0.
        end: the value from iteration `iterations` on.
        iterations: how long it takes, at least 1.
    """
    first, last = finite_number("start", start), finite_number("end", end)
    length = whole_number("iterations", iterations, least=1)
    if iteration >= length:
        return last
    share = (1 + math.cos(math.pi * iteration / length)) / 2
    return share * first + (1 - share) * last


@register("schedule_function", "step")
def step(iteration: int, _history: History, /, *, start: float, factor: float, every: int) -> float:
    """`start`, multiplied by `factor` every so many iterations.

    Args:
        iteration: which one, from 0.
        start: the value in iteration 0.
        factor: what it is multiplied by, above 0; below 1 to fall.
        every: iterations from one step to the next, at least 1.
    """
    return _grown(start, factor, iteration // whole_number("every", every, least=1))


def _grown(start: float, factor: float, times: int) -> float:
    first, by = finite_number("start", start), finite_number("factor", factor)
    if by <= 0:
        raise ConfigurationError(f"factor is a number above 0, not {by:g}: set it to one")
    if first == 0:
        return 0.0
    try:
        return first * by**times
    except OverflowError:
        return math.copysign(math.inf, first)
