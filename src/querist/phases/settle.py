"""What a person says of labels that no machine can decide on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from querist.errors import ConfigurationError, LabelError
from querist.ledger import UNSETTLED, Ledger, OpenRequest, Recorded, RequestState
from querist.ledger.labels import Quarantined, Revision
from querist.runs.answers import refusal
from querist.runs.run import Run
from querist.values import Label, LabelValue


class Outcome(StrEnum):
    """What became of a label that was asked for, where the source did not give it."""

    NOT_BOUGHT = "not bought"
    """Nothing was sold: it is asked for again."""
    LOST = "lost"
    """It was paid for and is lost: it counts against the budget, and is never asked for again."""


@dataclass(frozen=True)
class Unsettled:
    """Everything that waits for a person.

    Attributes:
        requests: labels that are in doubt, or whose answers were refused.
        revisions: labels that contradict the ones in use.
        quarantined: every answer that was refused so far.
    """

    requests: tuple[OpenRequest, ...]
    revisions: tuple[Revision, ...]
    quarantined: tuple[Quarantined, ...]


def unsettled(ledger: Ledger) -> Unsettled:
    """What waits for a person, in a ledger that may be another process's."""
    return Unsettled(
        requests=tuple(r for r in ledger.requests() if r.state in UNSETTLED),
        revisions=tuple(ledger.revisions_for_review()),
        quarantined=tuple(ledger.quarantined()),
    )


def settle_outcome(run: Run, samples: frozenset[int], outcome: Outcome) -> None:
    """Say of labels in doubt that they were not bought, or that they are lost.

    Raises:
        ConfigurationError: nothing is in doubt about one of the samples, or the run is concluded
            and asks no more.
    """
    if outcome is Outcome.NOT_BOUGHT and run.ledger.fact("concluded") is not None:
        raise ConfigurationError(
            f"run {run.reference.run_id} is concluded and asks for no more labels: say what the "
            "label is, or that it is lost"
        )
    waiting = {request.sample: request for request in unsettled(run.ledger).requests}
    _check(samples, frozenset(waiting))
    state = RequestState.WANTED if outcome is Outcome.NOT_BOUGHT else RequestState.LOST
    keys = [waiting[sample].key for sample in sorted(samples)]
    run.ledger.record_state(keys, state, f"settled: {outcome}")


def settle_value(
    run: Run, sample: int, value: LabelValue, *, annotator: str = "", cost: float = 1.0
) -> None:
    """Say which label a sample has: one in doubt, refused, or contradicted.

    Raises:
        ConfigurationError: nothing is in doubt about the sample.
        LabelError: the sample cannot have this label.
    """
    waiting = {request.sample: request for request in unsettled(run.ledger).requests}
    revisions = [r for r in run.ledger.revisions_for_review() if r.sample == sample]
    _check(frozenset({sample}), frozenset(waiting) | {r.sample for r in revisions})
    label = Label(sample, value, annotator, cost)
    reason = refusal(run, label)
    if reason is not None:
        raise LabelError(reason)
    for revision in revisions:
        run.ledger.decide_revision(revision, value)
    if sample in waiting:
        recorded = run.ledger.record_label(
            label,
            source=run.label_source_of(waiting[sample].iteration).identity,
            iteration=run.ledger.arrival_iteration(),
            key=waiting[sample].key,
        )
        if recorded is Recorded.NEW:
            run.data.learned(label)


def _check(samples: frozenset[int], waiting: frozenset[int]) -> None:
    foreign = sorted(samples - waiting)
    if foreign:
        known = ", ".join(map(str, sorted(waiting))) or "none"
        raise ConfigurationError(
            f"nothing is in doubt about sample {foreign[0]}: the samples to settle are {known}"
        )
