"""What a learner's flow finds around it when it is one of several: who watches, who delivers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from querist.phases.finish import IterationEnd
from querist.runs import RunReference

SafePoint = Callable[[RunReference, int, IterationEnd], Awaitable[bool]]
"""Called when an iteration is whole and the next has not begun; returns whether somebody may have
asked for something meanwhile."""


@dataclass(frozen=True)
class LearnerContext:
    """What surrounds one learner.

    Attributes:
        delivers: whether the parallel run delivers its spool.
        safe_point: who is told of every iteration, and waited for; None = nobody.
    """

    delivers: bool = False
    safe_point: SafePoint | None = None


_alone = LearnerContext()
_context: ContextVar[LearnerContext] = ContextVar("querist_learner", default=_alone)


def learner_context() -> LearnerContext:
    """What surrounds the flow that asks."""
    return _context.get()


@contextmanager
def surrounded_by(context: LearnerContext) -> Iterator[None]:
    """Flows inside are surrounded by `context`."""
    before = _context.set(context)
    try:
        yield
    finally:
        _context.reset(before)
