"""What follows an iteration's last phase."""

from __future__ import annotations

from dataclasses import dataclass

from querist.phases.commit import commit_iteration
from querist.phases.decide import decide
from querist.runs.run import Run


@dataclass(frozen=True)
class IterationEnd:
    """How an iteration ended.

    Attributes:
        stop: whether the run stops.
        reason: why, in words.
        labels: labeled samples that the next iteration starts with.
    """

    stop: bool
    reason: str
    labels: int


def finish_iteration(run: Run, iteration: int) -> IterationEnd:
    """Commit the iteration, and say whether the run goes on."""
    commit_iteration(run, iteration)
    return decide_end(run, iteration)


def decide_end(run: Run, iteration: int) -> IterationEnd:
    """Say whether the run goes on after an iteration that is whole."""
    decision = decide(run, iteration)
    return IterationEnd(decision.stop, decision.reason, len(run.labeled(iteration + 1)))
