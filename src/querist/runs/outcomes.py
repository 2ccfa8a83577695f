"""How the learners of a parallel run ended: the verdict on it, and which learner is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from querist.comparison import Curve
from querist.config.parallel import ParallelExperiment, Quorum, Selector
from querist.directions import Direction, direction_of

FAILED = "failed: "
STOPPED = "stopped: "


@dataclass(frozen=True)
class LearnerOutcome:
    """How one learner ended.

    Attributes:
        name: the learner.
        run_id: its run.
        reason: why it ended: `criterion met: ...`, `max iterations: ...`, `budget spent: ...`,
            `pool exhausted: ...`, `stopped by user`, `stopped: ...` (by the parallel run), or
            `failed: ...`.
        iterations: committed iterations.
        labels: labeled samples, the initial ones included.
        labels_bought: without the initial ones, and what others have bought for it.
        labels_shared: labels that another learner has bought for it.
        cost_saved: what these would have cost.
        curve: labels and metric, iteration by iteration.
    """

    name: str
    run_id: str
    reason: str
    iterations: int = 0
    labels: int = 0
    labels_bought: int = 0
    labels_shared: int = 0
    cost_saved: float = 0.0
    curve: Curve = ()

    @property
    def finished(self) -> bool:
        """Whether it ended by a rule of its own."""
        return not self.reason.startswith((FAILED, STOPPED))

    @property
    def last(self) -> float | None:
        """The metric at the end."""
        return self.curve[-1][1] if self.curve else None


@dataclass(frozen=True)
class ParallelSummary:
    """What a parallel run did.

    Attributes:
        run_id: the parallel run.
        folder: where everything is.
        verdict: `succeeded`, `degraded` or `failed`, by `parallel.on_failure`.
        reason: why, in words.
        metric: what the curves show; None when nothing was measured.
        learners: how each ended.
        best: the learner that the selector chose; None without one.
        best_reason: why that one, in words.
    """

    run_id: str
    folder: str
    verdict: str
    reason: str
    metric: str | None
    learners: tuple[LearnerOutcome, ...]
    best: str | None = None
    best_reason: str = ""


def judge(experiment: ParallelExperiment, outcomes: Sequence[LearnerOutcome]) -> tuple[str, str]:
    """The verdict on a parallel run by its rule, and the reason in words."""
    rule = experiment.parallel.on_failure
    failed = [outcome for outcome in outcomes if not outcome.finished]
    finished = len(outcomes) - len(failed)
    reason = f"{finished} of {len(outcomes)} learners finished"
    if not failed:
        return "succeeded", reason
    first = next((o for o in failed if o.reason.startswith(FAILED)), failed[0])
    reason = f"{reason}; {first.name} {first.reason}"
    needed = rule.quorum if isinstance(rule, Quorum) else 1
    enough = rule != "fail_fast" and finished >= needed
    return ("degraded" if enough else "failed"), reason


def select_best(selector: Selector, outcomes: Sequence[LearnerOutcome]) -> tuple[str | None, str]:
    """The learner that needs the fewest labels to the target, then the one with the best end.

    Learners that never reach the target come after all that do; NaN is never best.
    """
    direction = direction_of(selector.metric, selector.direction)
    sign = 1.0 if direction is Direction.MIN else -1.0
    ranked = []
    for outcome in outcomes:
        last = outcome.last
        if last is None or not math.isfinite(last):
            continue
        needed = labels_to(selector.target, outcome.curve, direction)
        ranked.append((math.inf if needed is None else needed, sign * last, outcome.name, last))
    if not ranked:
        return None, f"no learner has measured {selector.metric}"
    labels, _, name, last = min(ranked)
    words = f"{selector.metric} {last:.4g} at the end"
    if selector.target is not None:
        reached = (
            f"never reached {selector.target:g}"
            if labels == math.inf
            else f"{labels:g} labels to {selector.target:g}"
        )
        words = f"{reached}, {words}"
    return name, words


def labels_to(target: float | None, curve: Curve, direction: Direction) -> int | None:
    """How many labels a curve needs to reach `target`; None when it never does, or without one."""
    if target is None:
        return None
    for labels, value in curve:
        if value >= target if direction is Direction.MAX else value <= target:
            return labels
    return None
