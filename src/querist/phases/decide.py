"""Whether the run goes on after an iteration."""

from __future__ import annotations

import logging

from querist.ledger import OUTLOOK
from querist.phases.query import labels_left
from querist.protocols import LabelBudgeted
from querist.runs.run import Run
from querist.runs.steering import STOPPED_BY_USER, take_requests
from querist.values import Phase, StopDecision

_log = logging.getLogger(__name__)


def decide(run: Run, iteration: int) -> StopDecision:
    """Stop or go on after `iteration`, and the reason in words.

    The reason is written into the ledger when the run stops. What the stop criteria say while it
    goes on (how near the end is, what the next label is worth) is, too, and whoever watches hears.
    """
    said: list[str] = []
    decision = _decide(run, iteration, said)
    if said:
        _tell_outlook(run, iteration, "; ".join(said))
    elif run.ledger.fact(OUTLOOK):
        run.ledger.set_fact(OUTLOOK, "")  # of an iteration before: the newest one has none
    if decision.stop:
        run.ledger.set_fact("stop_reason", decision.reason)
        run.log.write(iteration, "driver", "stop", reason=decision.reason)
    return decision


def _decide(run: Run, iteration: int, said: list[str]) -> StopDecision:
    """The decision; what each criterion that was asked says is put into `said`."""
    if take_requests(run, iteration):
        return StopDecision(True, STOPPED_BY_USER)
    criteria = run.in_force(iteration).stop
    history = run.history() if criteria else []
    for criterion in criteria:
        decision = criterion.check(history)
        said += [decision.reason] if decision.reason else []
        if decision.stop:
            budget = (
                isinstance(criterion, LabelBudgeted)
                and criterion.remaining(history[-1].labels) == 0
            )
            met = "budget spent" if budget else "criterion met"
            return StopDecision(True, f"{met}: {decision.reason}")
    if _nothing_to_ask(run, iteration):
        return StopDecision(True, "pool exhausted: no sample was left to ask for")
    if _budget_is_spent(run, iteration):
        return StopDecision(True, "budget spent: what is left of it is in doubt, refused or lost")
    steps = run.experiment.driver.max_active_learning_steps
    if iteration + 1 >= steps:
        return StopDecision(True, f"max iterations: {steps}")
    return StopDecision(False)


def _tell_outlook(run: Run, iteration: int, outlook: str) -> None:
    run.ledger.set_fact(OUTLOOK, outlook)
    run.log.write(iteration, "driver", "outlook", reason=outlook)
    _log.info("iteration %d: %s", iteration, outlook)
    labels = len(run.labeled(iteration))
    metrics = run.ledger.metrology().get(iteration, {})
    run.tell(iteration, None, labels=labels, metrics=metrics, outlook=outlook)


def _budget_is_spent(run: Run, iteration: int) -> bool:
    """Whether nobody was asked, the budget allows no more, and no label came or can come."""
    return (
        Phase.QUERY in run.ledger.done_phases(iteration)
        and not len(run.ledger.selected(iteration))
        and labels_left(run, iteration) == 0
        and not run.ledger.open_requests()
        and len(run.data.labeled(run.ledger)) == len(run.labeled(iteration))
    )


def _nothing_to_ask(run: Run, iteration: int) -> bool:
    """Whether the query phase found nothing, nothing is left, and no label is pending."""
    return (
        Phase.QUERY in run.ledger.done_phases(iteration)
        and not len(run.ledger.selected(iteration))
        and not len(run.data.unlabeled(run.ledger))
        and not run.ledger.open_requests()
    )
