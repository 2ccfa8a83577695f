"""Stop when a Python function says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from querist.registry import register
from querist.strategies.options import function_of
from querist.strategies.stopping.judgement import Judgement
from querist.values import History, StopDecision


@register("stop", "callable")
class StopCallable:
    """Stops when a Python function says true, or a number that reaches a value.

    Args:
        function: an import path `package.module:attribute` of an allowed package, or (from Python)
            the function itself. It gets the history, the newest iteration last, and returns true or
            false, a `StopDecision`, or, with `operator` and `value`, a number.
        operator: `<`, `<=`, `>` or `>=`; stops when `number operator value` holds.
        value: the number that the function's number is compared with; NaN never stops.
    """

    def __init__(
        self,
        function: str | Callable[[History], Any],
        operator: str | None = None,
        value: float | None = None,
    ) -> None:
        self.function = function_of(function, "the history")
        name = function if isinstance(function, str) else getattr(function, "__name__", "function")
        self.judgement = Judgement(name, operator, value)

    def check(self, history: History) -> StopDecision:
        """What the function says of the history.

        Raises:
            StrategyError: it said something that is no answer.
        """
        if not history:
            return StopDecision(False, "no iteration yet")
        answer = self.function(history)
        if isinstance(answer, StopDecision):
            return answer
        if hasattr(answer, "item"):  # a tensor or a number of numpy's
            answer = answer.item()
        return self.judgement.of(answer, history[-1])
