"""Selections, and the requests that follow from them: who was asked for what, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from sqlalchemy import Connection, Select, func, select

from querist.errors import BudgetError, StrategyError
from querist.faults import crash_point
from querist.ledger import tables as t
from querist.ledger.database import storable
from querist.ledger.iterations import Iterations
from querist.values import Phase

INITIAL_LABELS = "initial_labels"
"""The fact that says how many labels there were at the start."""


class RequestState(StrEnum):
    """Where a request without a label stands."""

    WANTED = "wanted"
    """Nobody was asked."""
    ASKED = "asked"
    """A source was asked that bills again when it is asked again. In doubt once nobody waits."""
    ASKED_BY_KEY = "asked by key"
    """A source was asked that may be asked again with the same key."""
    PENDING = "pending"
    """The source was asked and will answer later."""
    FAILED = "failed"
    """The source said that it could not, and that nothing was bought."""
    IN_DOUBT = "in doubt"
    """Whether the label was bought is not known. No machine asks again."""
    QUARANTINED = "quarantined"
    """The answer cannot be a label. No machine asks again."""
    LOST = "lost"
    """Somebody settled it: paid for, and the label is lost."""


OPEN = frozenset(
    {RequestState.WANTED, RequestState.ASKED_BY_KEY, RequestState.PENDING, RequestState.FAILED}
)
"""A machine may ask."""

UNSETTLED = frozenset({RequestState.ASKED, RequestState.IN_DOUBT, RequestState.QUARANTINED})
"""A person has to say what happened."""


_AT_ONCE = 10_000
"""Databases take so many values in a statement, and not twice as many."""


def in_parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys, as many at a time as a statement may name."""
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


@dataclass(frozen=True)
class OpenRequest:
    """A label that is wanted and has not come.

    Attributes:
        sample: the sample.
        iteration, position: where in which iteration's selection it is.
        key: the same for the same sample of the same data and the same source, always.
        state: where it stands.
        reason: why, in words.
    """

    sample: int
    iteration: int
    position: int
    key: str
    state: RequestState = RequestState.WANTED
    reason: str = ""


class Requests(Iterations):
    """The part of the ledger that is about selections and requests."""

    def record_selection(
        self,
        iteration: int,
        chosen: Sequence[tuple[int, float, str]],
        *,
        keys: Sequence[str] | None,
        made: Mapping[int, bytes],
        started: float,
        budget: int | None = None,
        committee: Mapping[str, int] | None = None,
    ) -> None:
        """The selection, its requests, and that the query phase is done, in one transaction.

        Recording it again changes nothing.

        Args:
            iteration: the iteration that asks.
            chosen: sample, score and strategy, most wanted first.
            keys: one request key per sample; None when nobody is going to be asked.
            made: content of samples that are new.
            started: when the phase started.
            budget: initial labels plus requests may not be more; None = as many as there are.
            committee: which other learners voted, each with the iteration whose model did; None
                where no strategy asks for votes.

        Raises:
            BudgetError: they would be; nothing is recorded.
            StrategyError: a new sample was made before, or twice; nothing is recorded.
        """
        selected = [
            {"position": position, "sample": sample, "score": score, "strategy": strategy}
            for position, (sample, score, strategy) in enumerate(chosen)
        ]
        requested = [
            {"sample": row["sample"], "position": row["position"], "key": key}
            for row, key in zip(selected, keys or [], strict=keys is not None)
        ]
        of_it = {"iteration": iteration}
        outcome: dict[str, Any] = {"selected": len(chosen)}
        if committee is not None:
            outcome["committee"] = dict(committee)
        with self.db.writing() as c:
            if self._phase_is_done(c, iteration, Phase.QUERY):
                return
            if budget is not None:
                self._check_budget(c, len(requested), budget)
            self._refuse_repeated(c, [str(r["key"]) for r in requested if r["sample"] in made])
            contents = [{"sample": sample, "content": content} for sample, content in made.items()]
            self.db.add_new(c, t.samples, contents)
            self.db.add(c, t.selections, [of_it | row for row in selected])
            self.db.add(c, t.requests, [of_it | row for row in requested])
            self._record_phase(c, iteration, Phase.QUERY, started, outcome)
            crash_point("query.transaction")

    def _check_budget(self, c: Connection, more: int, budget: int) -> None:
        spent = int(c.scalar(self._requested()) or 0) + int(c.scalar(self._initial()) or 0)
        if more and spent + more > budget:
            raise BudgetError(
                f"a label budget of {budget} covers {max(0, budget - spent)} more labels, not "
                f"{more}: {spent} are there, asked for or in doubt"
            )

    def _refuse_repeated(self, c: Connection, keys: Sequence[str]) -> None:
        """Its label would be bought twice."""
        known = 0
        for part in in_parts(keys):
            of_part = (t.requests.c.run == self.db.run, t.requests.c.key.in_(part))
            count = select(func.count()).select_from(t.requests).where(*of_part)
            known += int(c.scalar(count) or 0)
        again = known + len(keys) - len(set(keys))
        if again:
            raise StrategyError(
                f"a query strategy makes each sample once, and {again} of the {len(keys)} that it "
                "made are there already: leave out what is labeled or waits for its label"
            )

    def _requested(self) -> Select[Any]:
        return select(func.count()).select_from(t.requests).where(t.requests.c.run == self.db.run)

    def _initial(self) -> Select[Any]:
        """How many labels there were at the start; a data set with `append` brings its own."""
        there = (t.facts.c.run == self.db.run, t.facts.c.key == INITIAL_LABELS)
        return select(t.facts.c.value).where(*there).order_by(t.facts.c.id.desc()).limit(1)

    def labels_committed_to(self) -> int:
        """Initial labels, and every request whatever became of it: what a budget counts."""
        return int(self.db.value(self._requested())) + int(self.db.value(self._initial()) or 0)

    def selected(self, iteration: int | None = None) -> torch.Tensor:
        """All samples that were ever selected (or in one iteration), in order."""
        query = select(t.selections.c.sample).where(t.selections.c.run == self.db.run)
        if iteration is not None:
            query = query.where(t.selections.c.iteration == iteration)
        rows = self.db.rows(query.order_by(t.selections.c.iteration, t.selections.c.position))
        return torch.tensor([row[0] for row in rows], dtype=torch.int64)

    def was_selected(self, sample: int) -> bool:
        """Whether a sample was ever selected."""
        query = select(t.selections.c.sample).where(
            t.selections.c.run == self.db.run, t.selections.c.sample == sample
        )
        return abs(sample) < 2**31 and self.db.value(query) is not None

    def requests(self) -> list[OpenRequest]:
        """Requests without a label, oldest first, whatever their state."""
        run, events = self.db.run, t.request_events
        newest = (
            select(func.max(events.c.id).label("id"), events.c.key)
            .where(events.c.run == run)
            .group_by(events.c.key)
            .subquery()
        )
        answered = select(t.labels.c.sample).where(t.labels.c.run == run)
        query = (
            select(t.requests, events.c.event, events.c.reason)
            .outerjoin(newest, newest.c.key == t.requests.c.key)
            .outerjoin(events, events.c.id == newest.c.id)
            .where(t.requests.c.run == run, t.requests.c.sample.not_in(answered))
            .order_by(t.requests.c.iteration, t.requests.c.position)
        )
        return [
            OpenRequest(
                row.sample,
                row.iteration,
                row.position,
                row.key,
                RequestState(row.event or RequestState.WANTED),
                row.reason or "",
            )
            for row in self.db.rows(query)
        ]

    def open_requests(self) -> list[OpenRequest]:
        """Requests that may be asked for, oldest first."""
        return [request for request in self.requests() if request.state in OPEN]

    def record_asked(
        self, keys: Sequence[str], *, by_key: bool, anew: bool = False
    ) -> frozenset[str]:
        """Before a source is asked: claim the keys, and write down that it is being asked.

        Returns the keys that may be asked for. The others were claimed by another run of a shared
        ledger, which wants the same labels from the same source.

        Args:
            keys: the requests.
            by_key: whether the source may be asked again by key.
            anew: claim also what another run has asked for by key and has no answer to: its process
                may be gone, and the source bills the key once whoever asks.
        """
        state = RequestState.ASKED_BY_KEY if by_key else RequestState.ASKED
        with self.db.writing() as c:
            claimed = self._newest_claims(c, keys)
            # In one order for all runs: two that claim the same keys must not wait for each other.
            claims = [
                {"key": key, "number": number, "claimed": time.time()}
                for key in sorted(keys)
                if (number := self._free_number(c, key, claimed.get(key), anew)) is not None
            ]
            self.db.add_new(c, t.claims, claims)
            claimed = self._newest_claims(c, keys)
            ours = frozenset(key for key in keys if claimed[key][1] == self.db.run)
            self._add_events(c, [key for key in keys if key in ours], state, "")
        return ours

    def _newest_claims(self, c: Connection, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Number and run of each key's newest claim."""
        found: dict[str, tuple[int, int]] = {}
        for some in in_parts(keys):
            query = select(t.claims).where(t.claims.c.key.in_(some)).order_by(t.claims.c.number)
            found |= {row.key: (row.number, row.run) for row in c.execute(query)}
        return found

    def _free_number(
        self, c: Connection, key: str, newest: tuple[int, int] | None, anew: bool
    ) -> int | None:
        """The number of a claim that may be made; None while the key is somebody's.

        It is free again when the run that claimed it was told that nothing was bought.
        """
        if newest is None:
            return 0
        number, run = newest
        if run == self.db.run and not self.db.shared:
            return None
        events, labels = t.request_events, t.labels
        query = select(events.c.event).where(events.c.run == run, events.c.key == key)
        said = c.scalar(query.order_by(events.c.id.desc()).limit(1))
        free = {RequestState.FAILED, RequestState.WANTED}
        if anew and run != self.db.run:
            free.add(RequestState.ASKED_BY_KEY)
        given_up = said in free
        came = given_up and c.execute(select(labels.c.id).where(labels.c.key == key)).first()
        # Its own run claims it anew as well: else another one could do so at the same moment.
        return number + 1 if given_up and not came else None

    def being_asked(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of `keys` that another run of a shared ledger is asking a source for right now."""
        events, found = t.request_events, set()
        asked = (RequestState.ASKED, RequestState.ASKED_BY_KEY)
        with self.db.errors(), self.db.engine.connect() as c:
            for key, (_, run) in self._newest_claims(c, keys).items():
                query = select(events.c.event).where(events.c.run == run, events.c.key == key)
                said = c.scalar(query.order_by(events.c.id.desc()).limit(1))
                if run != self.db.run and said in asked:
                    found.add(key)
        return frozenset(found)

    def record_state(self, keys: Sequence[str], state: RequestState, reason: str = "") -> None:
        """Write down where requests stand now."""
        if keys:
            with self.db.writing() as c:
                self._add_events(c, keys, state, reason)

    def _add_events(
        self, c: Connection, keys: Sequence[str], state: RequestState, reason: str
    ) -> None:
        rows = [
            {
                "key": key,
                "event": state.value,
                "fence": self.db.fence,
                "reason": storable(reason, 1000),
                "at": time.time(),
            }
            for key in keys
        ]
        self.db.add(c, t.request_events, rows)
