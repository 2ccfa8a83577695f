"""Labels: each durable the moment it arrived, none overwritten, none twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from querist.directions import as_written
from querist.faults import crash_point
from querist.ledger import tables as t
from querist.ledger.database import storable
from querist.ledger.requests import Requests, RequestState, in_parts
from querist.values import Label, LabelValue, Phase

INITIAL = "initial"
"""The source and the subset name of labels that were there at the start."""


@dataclass(frozen=True)
class Source:
    """Who gives labels.

    Attributes:
        name: the label strategy's name.
        version: digest of its options and of its own version: another one is another source.
    """

    name: str
    version: str = ""


class Recorded(StrEnum):
    """What became of a label."""

    NEW = "new"
    """It is there, and will be trained on."""
    KNOWN = "known"
    """The same label was there already."""
    REVISION = "revision"
    """It contradicts one that is there: kept for review, the first one stays in use."""


@dataclass(frozen=True)
class Revision:
    """A label that contradicts the one in use, and waits for a person.

    Attributes:
        sample: the sample.
        source, annotator: who said so.
        used: the value in use.
        value: what was said later.
    """

    sample: int
    source: Source
    annotator: str
    used: LabelValue
    value: LabelValue


@dataclass(frozen=True)
class Quarantined:
    """An answer that cannot be a label.

    Attributes:
        sample, value, annotator: what was answered, as text.
        reason: why it cannot be a label.
    """

    sample: str
    value: str
    annotator: str
    reason: str


class Labels(Requests):
    """The part of the ledger that is about labels."""

    def record_label(
        self, label: Label, *, source: Source, iteration: int, key: str | None = None
    ) -> Recorded:
        """Make one label durable. Recording it again changes nothing.

        Args:
            label: the answer.
            source: who gave it.
            iteration: when it came.
            key: the request that it answers.
        """
        row = _row(label, source, iteration, key)
        with self.db.writing() as c:
            there = list(
                c.execute(
                    select(t.labels.c.value, t.labels.c.revision).where(*self._of(label, source))
                )
            )
            # As values: 1 and 1.0 are the same answer.
            said = json.loads(row["value"])
            if any(json.loads(value) == said for value, _ in there):
                return Recorded.KNOWN
            revision = 1 + max((number for _, number in there), default=-1)
            self.db.add(c, t.labels, [row | {"revision": revision, "used": not there}])
            crash_point("label.transaction")
        return Recorded.REVISION if there else Recorded.NEW

    def copy_labels(
        self, keys: Sequence[str], *, iteration: int, accept: Callable[[Label], bool]
    ) -> list[Label]:
        """Take over labels that another run of a shared ledger has bought; they cost nothing.

        Args:
            keys: the requests that they answer.
            iteration: when they came.
            accept: whether a label can be one of this run.
        """
        if not self.db.shared or not keys:
            return []
        sample_of = {request.key: request.sample for request in self.requests()}
        # Whoever waits for several labels asks again for all of them when some have come.
        unanswered = [key for key in keys if key in sample_of]
        others = (t.labels.c.run != self.db.run, t.labels.c.used)
        with self.db.writing() as c:
            newest = {
                (row.key, row.source, row.source_version, row.annotator): row
                for some in in_parts(unanswered)
                for row in c.execute(
                    select(t.labels)
                    .where(t.labels.c.key.in_(some), *others)
                    .order_by(t.labels.c.revision)
                )
            }
            copies = []
            for row in newest.values():
                label = Label(sample_of[row.key], json.loads(row.value), row.annotator, 0.0)
                source = Source(row.source, row.source_version)
                if not accept(label):
                    continue
                copies.append(label)
                copied = _row(label, source, iteration, None)
                self.db.add_new(c, t.labels, [copied | {"revision": 0, "used": True}])
        return copies

    def record_quarantine(
        self, answer: Any, reason: str, *, source: Source, iteration: int, key: str | None
    ) -> None:
        """Keep an answer that cannot be a label, with the reason."""
        reason = storable(reason, 1000)
        row = {
            "iteration": iteration,
            "sample": _text(_part(answer, "index", None)),
            "source": source.name,
            "annotator": _text(_part(answer, "annotator", "")),
            "value": _text(_part(answer, "value", answer)),
            "cost": _cost(_part(answer, "cost", 0.0)),
            "reason": reason,
            "at": time.time(),
        }
        with self.db.writing() as c:
            self.db.add(c, t.quarantine, [row])
            if key is not None:
                self._add_events(c, [key], RequestState.QUARANTINED, reason)

    def quarantined(self) -> list[Quarantined]:
        """Every answer that was no label, oldest first."""
        query = select(t.quarantine).where(t.quarantine.c.run == self.db.run)
        return [
            Quarantined(row.sample, row.value, row.annotator, row.reason)
            for row in self.db.rows(query.order_by(t.quarantine.c.id))
        ]

    def label_rows(self, before_iteration: int | None = None) -> list[tuple[int, str, LabelValue]]:
        """Sample, annotator and value, the initial ones first, then by iteration and position.

        Args:
            before_iteration: only labels that were there when this iteration started training.
        """
        run = self.db.run
        position = func.coalesce(t.selections.c.position, t.subsets.c.position, 0)
        asked_in = func.coalesce(t.selections.c.iteration, -1)
        selected = (t.selections.c.sample == t.labels.c.sample) & (t.selections.c.run == run)
        initial = (
            (t.subsets.c.sample == t.labels.c.sample)
            & (t.subsets.c.subset == INITIAL)
            & (t.subsets.c.run == run)
        )
        query = (
            select(t.labels, asked_in.label("asked_in"), position.label("position"))
            .outerjoin(t.selections, selected)
            .outerjoin(t.subsets, initial)
            .where(t.labels.c.run == run, t.labels.c.used)
            .order_by(t.labels.c.revision)
        )
        if before_iteration is not None:
            query = query.where(t.labels.c.iteration < before_iteration)
        newest: dict[tuple[int, str, str, str], tuple[int, str, LabelValue]] = {}
        # Sorted here: the order of text is another one in each database, and training follows it.
        for row in sorted(self.db.rows(query), key=_place_in_training):
            place = (row.sample, row.annotator, row.source, row.source_version)
            newest[place] = (row.sample, row.annotator, json.loads(row.value))
        return list(newest.values())

    def labels_that_came(self, iteration: int) -> int:
        """How many labels came in an iteration."""
        query = select(func.count()).where(
            t.labels.c.run == self.db.run, t.labels.c.iteration == iteration
        )
        return int(self.db.value(query))

    def labels_spent(self, through: int | None = None) -> tuple[int, float]:
        """How many labels were bought (the initial ones apart), and their cost.

        Args:
            through: only those that came up to the end of this iteration.
        """
        bought = [t.labels.c.run == self.db.run, t.labels.c.source != INITIAL]
        if through is not None:
            bought.append(t.labels.c.iteration <= through)
        number = select(func.count()).where(*bought, t.labels.c.revision == 0)
        cost = select(func.coalesce(func.sum(t.labels.c.cost), 0.0)).where(*bought)
        return int(self.db.value(number)), float(self.db.value(cost))

    def labels_shared(self) -> tuple[int, float]:
        """How many labels other runs of a shared ledger have bought for this one, and their cost.

        Each annotator's label counts.
        """
        mine, theirs = t.labels.alias("mine"), t.labels.alias("theirs")
        same = [
            mine.c[name] == theirs.c[name] for name in ("source", "source_version", "annotator")
        ]
        query = (
            select(func.count(mine.c.id.distinct()), func.coalesce(func.sum(theirs.c.cost), 0.0))
            .select_from(mine)
            .join(
                t.requests,
                (t.requests.c.run == mine.c.run) & (t.requests.c.sample == mine.c.sample),
            )
            .join(theirs, (theirs.c.key == t.requests.c.key) & (theirs.c.run != mine.c.run))
            .where(
                mine.c.run == self.db.run,
                mine.c.key.is_(None),
                mine.c.source != INITIAL,
                mine.c.revision == 0,
                theirs.c.revision == 0,
                *same,
            )
        )
        number, cost = self.db.rows(query)[0]
        return int(number), float(cost)

    def labels_spent_by_iteration(self) -> dict[int, tuple[int, float]]:
        """`labels_spent` through each iteration in which labels came, in order.

        Costs are added up as they are written: ten times 0.1 is 1.
        """
        first = func.sum(case((t.labels.c.revision == 0, 1), else_=0))
        query = (
            select(t.labels.c.iteration, t.labels.c.cost, func.count(), first)
            .where(t.labels.c.run == self.db.run, t.labels.c.source != INITIAL)
            .group_by(t.labels.c.iteration, t.labels.c.cost)
            .order_by(t.labels.c.iteration, t.labels.c.cost)
        )
        bought, spent = 0, Decimal(0)
        through: dict[int, tuple[int, float]] = {}
        for iteration, cost, rows, new in self.db.rows(query):
            bought += int(new)
            spent += as_written(cost) * rows
            through[iteration] = bought, float(spent)
        return through

    def revisions_for_review(self) -> list[Revision]:
        """Labels that contradict the one in use, and that nobody has decided on."""
        query = select(t.labels).where(t.labels.c.run == self.db.run).order_by(t.labels.c.revision)
        used: dict[tuple[int, str, str, str], Any] = {}
        waiting: dict[tuple[int, str, str, str], list[Any]] = {}
        for row in self.db.rows(query):
            place = (row.sample, row.source, row.source_version, row.annotator)
            if row.used:
                used[place] = row
                waiting.pop(place, None)
            else:
                waiting.setdefault(place, []).append(row)
        return [
            Revision(
                sample=row.sample,
                source=Source(row.source, row.source_version),
                annotator=row.annotator,
                used=json.loads(used[place].value),
                value=json.loads(row.value),
            )
            for place, rows in waiting.items()
            for row in rows
        ]

    def decide_revision(self, revision: Revision, value: LabelValue) -> None:
        """Decide on a contradiction: `value` is in use from the next training on."""
        iteration = self.arrival_iteration()
        label = Label(revision.sample, value, revision.annotator, 0.0)
        with self.db.writing() as c:
            # With the key of the request, by which other runs take over what is in use.
            newest, key = c.execute(
                select(func.max(t.labels.c.revision), func.max(t.labels.c.key)).where(
                    *self._of(label, revision.source)
                )
            ).one()
            row = _row(label, revision.source, iteration, key)
            self.db.add(c, t.labels, [row | {"revision": (newest or 0) + 1, "used": True}])

    def arrival_iteration(self) -> int:
        """The iteration to which a label belongs that comes now, outside of a label phase."""
        iteration = self.next_iteration()
        return iteration + (Phase.LABEL in self.done_phases(iteration))

    def _of(self, label: Label, source: Source) -> tuple[ColumnElement[bool], ...]:
        """What the rows of one sample by one source and annotator have in common."""
        return (
            t.labels.c.run == self.db.run,
            t.labels.c.sample == label.index,
            t.labels.c.source == source.name,
            t.labels.c.source_version == source.version,
            t.labels.c.annotator == label.annotator,
        )

    def _add_initial(self, c: Connection, labels: Sequence[Label]) -> None:
        rows = [_row(label, Source(INITIAL), -1, None) for label in labels]
        self.db.add(c, t.labels, [row | {"revision": 0, "used": True} for row in rows])


def _row(label: Label, source: Source, iteration: int, key: str | None) -> dict[str, Any]:
    return {
        "sample": label.index,
        "key": key,
        "source": source.name,
        "source_version": source.version,
        "annotator": label.annotator,
        "value": json.dumps(label.value),
        "cost": label.cost,
        "iteration": iteration,
        "arrived": time.time(),
    }


def _place_in_training(row: Any) -> tuple[Any, ...]:
    return (
        row.asked_in, row.position, row.sample, row.annotator, row.source, row.source_version,
        row.revision,
    )  # fmt: skip


def _part(answer: Any, name: str, otherwise: Any) -> Any:
    """A part of an answer that may be anything."""
    try:
        return getattr(answer, name, otherwise)
    except Exception:
        return otherwise


def _cost(value: Any) -> float:
    """What an answer says that it cost, where that is a number from 0."""
    try:
        cost = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return cost if 0 <= cost < math.inf else 0.0


def _text(value: Any) -> str:
    """Anything as text that a database can hold."""
    try:
        words = repr(value)
    except Exception:
        words = f"a {type(value).__name__} that cannot be shown"
    return storable(words, 1000)
