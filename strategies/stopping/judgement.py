"""What an answer of a user's own criterion means: true, false, or a number against a value."""

from __future__ import annotations

import logging
import math
from typing import Any

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.options import finite_number, one_of
from querist.strategies.stopping.metric_threshold import COMPARISONS
from querist.values import IterationResult, StopDecision

_log = logging.getLogger(__name__)


class Judgement:
    """Reads answers, which are true or false without an operator, and numbers with one.

    Args:
        name: who answers, for people.
        operator: `<`, `<=`, `>` or `>=`.
        value: what the number is compared with.

    Raises:
        ConfigurationError: only one of operator and value is given, or one that is no such thing.
    """

    def __init__(self, name: str, operator: str | None, value: float | None) -> None:
        if (operator is None) != (value is None):
            given = "operator" if value is None else "value"
            missing = "value" if value is None else "operator"
            raise ConfigurationError(
                f"operator and value belong together, and only {given} is there: add {missing}, or "
                f"remove {given}"
            )
        self.name = name
        self.operator = None if operator is None else one_of("operator", operator, (*COMPARISONS,))
        self.value = 0.0 if value is None else finite_number("value", value)

    def of(self, answer: Any, newest: IterationResult) -> StopDecision:
        """The decision after the newest iteration; NaN never stops.

        Raises:
            StrategyError: the answer is of the other kind.
        """
        after = f"after {newest.labels} labels"
        if self.operator is None:
            if not isinstance(answer, bool):
                raise StrategyError(
                    f"a stop criterion says true or false, {self.name} said {answer!r:.80}: print "
                    "one, or set operator and value to compare a number"
                )
            return StopDecision(answer, f"{self.name} says {str(answer).lower()} {after}")
        if isinstance(answer, bool) or not isinstance(answer, int | float):
            raise StrategyError(
                f"a stop criterion with an operator says a number, {self.name} said "
                f"{answer!r:.80}: print one, or remove operator and value"
            )
        if math.isnan(answer):
            _log.warning("iteration %d: %s says NaN", newest.iteration, self.name)
            return StopDecision(False, f"{self.name} is NaN {after}")
        holds, opposite = COMPARISONS[self.operator]
        stop = holds(answer, self.value)
        sign = self.operator if stop else opposite
        return StopDecision(stop, f"{self.name} {answer:.6g} {sign} {self.value:.6g} {after}")
