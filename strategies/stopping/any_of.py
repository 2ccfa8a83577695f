"""Stop when one of several criteria is met."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from querist.protocols import LabelBudgeted
from querist.registry import register
from querist.strategies.stopping.criteria import build_criteria, needs_of
from querist.values import History, StopDecision


@register("stop", "any_of")
class AnyOf:
    """Stops as soon as one of several stop criteria does.

    Args:
        criteria: stop criteria by name, `{name: ..., options: {...}}`; at least one.
    """

    def __init__(self, criteria: Sequence[str | Mapping[str, Any]]) -> None:
        self.criteria = build_criteria("any_of", criteria)
        self.needs = needs_of(self.criteria)

    def check(self, history: History) -> StopDecision:
        """Stop when one is met; the reason names those that are, or else all."""
        decisions = [criterion.check(history) for criterion in self.criteria]
        met = [decision for decision in decisions if decision.stop]
        return StopDecision(bool(met), "; ".join(d.reason for d in met or decisions))

    def remaining(self, labels: int) -> int:
        """The smallest budget that one of the criteria leaves when there are `labels`."""
        left = (c.remaining(labels) for c in self.criteria if isinstance(c, LabelBudgeted))
        return min(left, default=sys.maxsize)
