"""Phases, measurements and verdicts of iterations, and the row that makes an iteration whole."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select

from querist.errors import RunError
from querist.faults import crash_point
from querist.ledger import tables as t
from querist.ledger.database import Database
from querist.values import Phase, Verdict

OUTLOOK = "outlook"
"""The fact that holds what the stop criteria said after the newest iteration; may be empty."""


class Iterations:
    """The part of the ledger that is about what was done in which iteration."""

    db: Database

    def record_phase(
        self,
        iteration: int,
        phase: Phase,
        started: float,
        outcome: Mapping[str, Any],
        facts: Mapping[str, str] | None = None,
    ) -> float:
        """A phase is done; returns when, in seconds since 1970.

        Recording it again changes nothing. A power cut may take it: the phase is then done again,
        with the same outcome.

        Args:
            iteration: which one.
            phase: which phase.
            started: when it began.
            outcome: what it did; small, since it is read again and again.
            facts: what is written down with it.
        """
        with self.db.writing(durable=False) as c:
            ended = self._record_phase(c, iteration, phase, started, outcome)
            self.db.add(c, t.facts, [{"key": k, "value": v} for k, v in (facts or {}).items()])
        return ended

    def _record_phase(
        self,
        c: Connection,
        iteration: int,
        phase: Phase,
        started: float,
        outcome: Mapping[str, Any],
    ) -> float:
        ended = time.time()
        row = {
            "iteration": iteration,
            "phase": phase.value,
            "started": started,
            "ended": ended,
            "outcome": json.dumps(outcome),
        }
        self.db.add_new(c, t.phases, [row])
        return ended

    def _phase_is_done(self, c: Connection, iteration: int, phase: Phase) -> bool:
        query = select(t.phases.c.phase).where(
            t.phases.c.run == self.db.run,
            t.phases.c.iteration == iteration,
            t.phases.c.phase == phase.value,
        )
        return c.execute(query).first() is not None

    def done_phases(self, iteration: int) -> set[Phase]:
        """The phases of an iteration that are done."""
        query = select(t.phases.c.phase).where(
            t.phases.c.run == self.db.run, t.phases.c.iteration == iteration
        )
        return {Phase(row[0]) for row in self.db.rows(query)}

    def phase_rows(
        self, iteration: int | None = None
    ) -> list[tuple[int, Phase, float, dict[str, Any]]]:
        """Iteration, phase, seconds and outcome of every phase that is done (in one iteration)."""
        query = select(t.phases).where(t.phases.c.run == self.db.run)
        if iteration is not None:
            query = query.where(t.phases.c.iteration == iteration)
        order = list(Phase)
        rows = [
            # A clock that was set back must not make a phase shorter than nothing.
            (
                row.iteration,
                Phase(row.phase),
                max(0.0, row.ended - row.started),
                json.loads(row.outcome),
            )
            for row in self.db.rows(query)
        ]
        return sorted(rows, key=lambda row: (row[0], order.index(row[1])))

    def phase_outcome(self, iteration: int, phase: Phase) -> dict[str, Any] | None:
        """What a phase did; None while it is not done."""
        query = select(t.phases.c.outcome).where(
            t.phases.c.run == self.db.run,
            t.phases.c.iteration == iteration,
            t.phases.c.phase == phase.value,
        )
        found = self.db.value(query)
        return None if found is None else json.loads(found)

    def phase_ended(self, iteration: int, phase: Phase) -> float | None:
        """When a phase was done, seconds since 1970; None while it is not done."""
        query = select(t.phases.c.ended).where(
            t.phases.c.run == self.db.run,
            t.phases.c.iteration == iteration,
            t.phases.c.phase == phase.value,
        )
        found = self.db.value(query)
        return None if found is None else float(found)

    # The iteration as a whole ------------------------------------------------------------------

    def commit_iteration(
        self,
        iteration: int,
        labels: int,
        settings: Mapping[str, Any],
        checkpoint: str | None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """The iteration is whole. Committing it again changes nothing.

        Args:
            iteration: which one.
            labels: labeled samples that its model was trained on.
            settings: the experiment as it was in force.
            checkpoint: SHA-256 of the checkpoint's manifest; None without training.
            files: SHA-256 of the checkpoint's files by name.
        """
        with self.db.writing() as c:
            content = {
                "labels": labels,
                "settings": json.dumps(settings),
                "checkpoint": checkpoint,
            }
            digests = {
                **(files or {}),
                **self._digests(c, iteration, iteration)[iteration],
                "previous": self._previous(c, iteration),
                "row": _digest_of([list(content.values())]),
            }
            row = {
                "iteration": iteration,
                **content,
                "digests": json.dumps(digests),
                "committed": time.time(),
            }
            self.db.add_new(c, t.commits, [row])
            crash_point("commit.transaction")

    def next_iteration(self) -> int:
        """The first iteration that is not whole."""
        newest = select(func.max(t.commits.c.iteration)).where(t.commits.c.run == self.db.run)
        found = self.db.value(newest)
        return 0 if found is None else int(found) + 1

    def commit_rows(self) -> list[Any]:
        """Every committed iteration: labels, settings, checkpoint, digests, when."""
        query = select(t.commits).where(t.commits.c.run == self.db.run)
        return self.db.rows(query.order_by(t.commits.c.iteration))

    def verify(self) -> None:
        """Compare every committed iteration with the SHA-256 in its commit row.

        Raises:
            RunError: which iteration's what was changed after the commit.
        """
        rows = self.commit_rows()
        if not rows:
            return
        with self.db.errors(), self.db.engine.connect() as c:
            found = self._digests(c, 0, rows[-1].iteration)
        previous = _digest_of([])
        for row in rows:
            committed = json.loads(row.digests)
            digests = {
                **found[row.iteration],
                "previous": previous,
                "row": _digest_of([[row.labels, row.settings, row.checkpoint]]),
            }
            for what, digest in digests.items():
                if what in committed and committed[what] != digest:
                    raise RunError(
                        f"the {what} of iteration {row.iteration} in {self.db.place} does not "
                        "have the SHA-256 that it was committed with: bring back a copy"
                    )
            previous = _digest_of([[row.digests]])

    def _digests(self, c: Connection, first: int, last: int) -> dict[int, dict[str, str]]:
        """SHA-256 of what the ledger holds of each of some iterations."""
        columns = {
            "labels": (t.labels, ("sample", "source", "annotator", "revision", "used", "value",
                                  "cost", "iteration")),
            "selection": (t.selections, ("position", "sample", "score", "strategy")),
            "metrics": (t.metrology, ("metric", "value", "labels")),
            "verdict": (t.verdicts, ("content",)),
        }  # fmt: skip
        rows: dict[tuple[int, str], list[list[Any]]] = defaultdict(list)
        for what, (table, names) in columns.items():
            # The initial labels are the first iteration's.
            since = -1 if what == "labels" and first == 0 else first
            query = select(table.c.iteration, *(table.c[name] for name in names)).where(
                table.c.run == self.db.run, table.c.iteration.between(since, last)
            )
            for iteration, *content in c.execute(query):
                rows[max(iteration, 0), what].append(content)
        return {
            iteration: {what: _digest_of(rows[iteration, what]) for what in columns}
            for iteration in range(first, last + 1)
        }

    def _previous(self, c: Connection, iteration: int) -> str:
        """SHA-256 of the commit before."""
        query = select(t.commits.c.digests).where(
            t.commits.c.run == self.db.run, t.commits.c.iteration == iteration - 1
        )
        return _digest_of([list(row) for row in c.execute(query)])

    # Metrology and verdicts --------------------------------------------------------------------

    def record_metrology(
        self,
        iteration: int,
        values: Mapping[str, float],
        labels: int,
        started: float,
        *,
        stop_set: str | None = None,
    ) -> None:
        """What was measured, and that the metrology phase is done, in one transaction.

        A power cut may take it: the same is then measured again.

        Args:
            iteration: which one.
            values: by metric.
            labels: that its model was trained on.
            started: when the phase began.
            stop_set: SHA-256 of its predictions on the stop set; None without one.
        """
        rows = [
            {
                "iteration": iteration,
                "metric": metric,
                "position": position,
                "value": None if math.isnan(value) else value,
                "labels": labels,
            }
            for position, (metric, value) in enumerate(values.items())
        ]
        with self.db.writing(durable=False) as c:
            self.db.add_new(c, t.metrology, rows)
            kept = {} if stop_set is None else {"stop_set": stop_set}
            self._record_phase(c, iteration, Phase.METROLOGY, started, {**values, **kept})

    def metrology(self) -> dict[int, dict[str, float]]:
        """Metric values by iteration, in the order they were measured in."""
        found: dict[int, dict[str, float]] = {}
        query = select(t.metrology).where(t.metrology.c.run == self.db.run)
        for row in self.db.rows(query.order_by(t.metrology.c.iteration, t.metrology.c.position)):
            value = math.nan if row.value is None else row.value
            found.setdefault(row.iteration, {})[row.metric] = value
        return found

    def metrology_labels(self) -> dict[int, int]:
        """How many labels the measured models had, by iteration."""
        query = select(t.metrology.c.iteration, t.metrology.c.labels).where(
            t.metrology.c.run == self.db.run
        )
        return {row.iteration: row.labels for row in self.db.rows(query.distinct())}

    def record_verdict(self, iteration: int, verdict: Verdict) -> None:
        """A gate's decision. Recording it again changes nothing."""
        row = {
            "iteration": iteration,
            "promote": verdict.promote,
            "content": json.dumps(asdict(verdict)),
        }
        with self.db.writing() as c:
            self.db.add_new(c, t.verdicts, [row])

    def champion(self) -> int | None:
        """The iteration whose model was promoted last."""
        query = select(func.max(t.verdicts.c.iteration)).where(
            t.verdicts.c.run == self.db.run, t.verdicts.c.promote
        )
        found = self.db.value(query)
        return None if found is None else int(found)

    def verdicts(self) -> dict[int, dict[str, Any]]:
        """Every verdict by iteration."""
        query = select(t.verdicts).where(t.verdicts.c.run == self.db.run)
        rows = self.db.rows(query.order_by(t.verdicts.c.iteration))
        return {row.iteration: json.loads(row.content) for row in rows}


def _digest_of(rows: list[list[Any]]) -> str:
    """SHA-256 of rows, in an order of their own, as JSON."""
    return hashlib.sha256("\n".join(sorted(map(json.dumps, rows))).encode()).hexdigest()
