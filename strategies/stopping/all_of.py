"""Stop when all of several criteria are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from querist.registry import register
from querist.strategies.stopping.criteria import build_criteria, needs_of
from querist.values import History, StopDecision


@register("stop", "all_of")
class AllOf:
    """Stops once all of several stop criteria do, in the same iteration.

    Args:
        criteria: stop criteria by name, `{name: ..., options: {...}}`; at least one.
    """

    def __init__(self, criteria: Sequence[str | Mapping[str, Any]]) -> None:
        self.criteria = build_criteria("all_of", criteria)
        self.needs = needs_of(self.criteria)

    def check(self, history: History) -> StopDecision:
        """Stop when all are met; the reason names all, or else those that are not."""
        decisions = [criterion.check(history) for criterion in self.criteria]
        unmet = [decision for decision in decisions if not decision.stop]
        return StopDecision(not unmet, " and ".join(d.reason for d in unmet or decisions))
