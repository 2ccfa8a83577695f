"""The ledger of a registered model: items, retrainings, versions, verdicts, and who is champion."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy.exc import IntegrityError

from querist.errors import ChampionChangedError, RunError
from querist.faults import crash_point
from querist.ledger import tables as t
from querist.ledger.leased import LeasedLedger
from querist.values import LabelValue, Verdict

PROMOTED, DISCARDED, ROLLED_BACK = "promoted", "discarded", "rolled-back"
LAST_STEP = "promote"
"""The step that ends a retraining."""


@dataclass(frozen=True)
class KnownItem:
    """An item that has its subset."""

    id: str
    digest: str
    subset: str


@dataclass(frozen=True)
class Answer:
    """What is known of an item: its label, and its metadata."""

    value: LabelValue
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """A version whose weights are stored.

    Attributes:
        version: its number, that of the retraining that made it.
        parent: the version that it started from; None for first weights, and for a run's model.
        fingerprint: SHA-256 of what it was trained on.
        settings: what it is and how it was fitted: see `config.learner.VersionSettings`.
        checkpoint: SHA-256 of its checkpoint's manifest.
    """

    version: int
    parent: int | None
    fingerprint: str
    settings: Mapping[str, Any]
    checkpoint: str


@dataclass(frozen=True)
class Promotion:
    """One event in the history of champions.

    Attributes:
        sequence: 1, 2, 3, ...
        event: `promoted`, `discarded` or `rolled-back`.
        version: whom it is about.
        champion_before, champion: who was, and who is champion; None while there is none.
        comparison: the verdict that is its evidence; None for a rollback.
        reason: why, in words.
        made: when, seconds since 1970.
    """

    sequence: int
    event: str
    version: int
    champion_before: int | None
    champion: int | None
    comparison: int | None
    reason: str
    made: float


class ModelLedger(LeasedLedger):
    """The ledger of one registered model. Anybody may read it.

    Who retrains holds the lease. Verdicts and promotions need none: a promotion counts only as
    long as the champion is the one that the verdict was against.
    """

    # What there is to learn --------------------------------------------------------------------

    def items(self) -> list[KnownItem]:
        """Every item that has its subset, by id."""
        query = select(t.items.c.item, t.items.c.digest, t.items.c.subset)
        query = query.where(t.items.c.run == self.db.run)
        return sorted(
            (KnownItem(*row) for row in self.db.rows(query)), key=lambda known: known.id
        )

    def answers(self, through: int | None = None) -> dict[str, Answer]:
        """What is known of every labeled item.

        Args:
            through: as this retraining found it; None = now.
        """
        query = select(t.answers).where(t.answers.c.run == self.db.run)
        if through is not None:
            query = query.where(t.answers.c.retraining <= through)
        query = query.order_by(t.answers.c.retraining)
        return {
            row.item: Answer(json.loads(row.value), json.loads(row.metadata))
            for row in self.db.rows(query)
        }

    # Retrainings -------------------------------------------------------------------------------

    def retraining_with(self, key: str) -> int | None:
        """The retraining that has this key."""
        query = select(t.retrainings.c.retraining).where(
            t.retrainings.c.run == self.db.run, t.retrainings.c.key == key
        )
        found = self.db.value(query)
        return None if found is None else int(found)

    def begin_retraining(
        self,
        *,
        key: str,
        window: str,
        fingerprint: str,
        settings: Mapping[str, Any],
        answers: Mapping[str, Answer],
    ) -> int:
        """Enter a retraining, with the answers that are new in it; returns its number.

        Raises:
            RunError: the key is taken: the same was learned in the same window before.
        """
        with self.db.writing() as c:
            number = 1 + (c.scalar(self._newest()) or 0)
            row = {
                "retraining": number, "key": key, "window": window, "fingerprint": fingerprint,
                "settings": json.dumps(settings), "started": time.time(),
            }  # fmt: skip
            try:
                self.db.add(c, t.retrainings, [row])
            except IntegrityError as error:
                raise RunError(
                    f"model {self.db.run_id} has learned this in window {window!r} before: "
                    "nothing is done twice"
                ) from error
            rows = [
                {
                    "item": item,
                    "value": json.dumps(answer.value),
                    "metadata": json.dumps(answer.metadata, sort_keys=True),
                    "retraining": number,
                }
                for item, answer in answers.items()
            ]
            self.db.add(c, t.answers, rows)
        return number

    def retraining(self, number: int) -> Any:
        """The row of a retraining: its key, window, fingerprint and settings."""
        query = select(t.retrainings).where(
            t.retrainings.c.run == self.db.run, t.retrainings.c.retraining == number
        )
        rows = self.db.rows(query)
        if not rows:
            raise RunError(f"model {self.db.run_id} has no retraining {number}")
        return rows[0]

    def unfinished(self, fingerprint: str) -> int | None:
        """The newest retraining, if it was to learn this and did not come to its end."""
        if not self.was_cut_off():
            return None
        newest = self.retraining(int(self.db.value(self._newest())))
        return int(newest.retraining) if newest.fingerprint == fingerprint else None

    def was_cut_off(self) -> bool:
        """Whether the newest retraining did not come to its end."""
        return int(self.db.value(self._newest()) or 0) > self.last_finished()

    def _newest(self) -> Select[Any]:
        """The number of the newest retraining."""
        return select(func.max(t.retrainings.c.retraining)).where(
            t.retrainings.c.run == self.db.run
        )

    def last_finished(self) -> int:
        """The newest retraining that came to its end; 0 while there is none."""
        query = select(func.max(t.steps.c.retraining)).where(
            t.steps.c.run == self.db.run, t.steps.c.step == LAST_STEP
        )
        return int(self.db.value(query) or 0)

    def record_step(
        self, number: int, step: str, outcome: Mapping[str, Any], started: float
    ) -> None:
        """A step is done. Recording it again changes nothing."""
        with self.db.writing() as c:
            self._record_step(c, number, step, outcome, started)

    def _record_step(
        self, c: Connection, number: int, step: str, outcome: Mapping[str, Any], started: float
    ) -> None:
        row = {
            "retraining": number, "step": step, "outcome": json.dumps(outcome),
            "started": started, "ended": time.time(),
        }  # fmt: skip
        self.db.add_new(c, t.steps, [row])

    def step(self, number: int, step: str) -> dict[str, Any] | None:
        """What a step did; None while it is not done."""
        query = select(t.steps.c.outcome).where(
            t.steps.c.run == self.db.run, t.steps.c.retraining == number, t.steps.c.step == step
        )
        found = self.db.value(query)
        return None if found is None else json.loads(found)

    def record_split(
        self, number: int, items: Iterable[KnownItem], outcome: Mapping[str, Any], started: float
    ) -> None:
        """The subsets of new items, and that the split is done, in one transaction."""
        with self.db.writing() as c:
            rows = [
                {"item": i.id, "digest": i.digest, "subset": i.subset, "retraining": number}
                for i in items
            ]
            self.db.add_new(c, t.items, rows)
            crash_point("split.transaction")
            self._record_step(c, number, "split", outcome, started)

    # Versions ----------------------------------------------------------------------------------

    def record_version(
        self, version: Version, outcome: Mapping[str, Any], started: float
    ) -> None:
        """A version whose weights are stored, and that its training is done."""
        with self.db.writing() as c:
            row = {
                **asdict(version), "settings": json.dumps(version.settings), "made": time.time(),
            }  # fmt: skip
            self.db.add_new(c, t.versions, [row])
            self._record_step(c, version.version, "train", outcome, started)

    def versions(self) -> dict[int, Version]:
        """Every version by its number."""
        query = select(t.versions).where(t.versions.c.run == self.db.run)
        return {
            row.version: Version(
                version=row.version,
                parent=row.parent,
                fingerprint=row.fingerprint,
                settings=json.loads(row.settings),
                checkpoint=row.checkpoint,
            )
            for row in self.db.rows(query.order_by(t.versions.c.version))
        }

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            RunError: there is none with this number.
        """
        found = self.versions()
        if number not in found:
            known = ", ".join(map(str, list(found)[-10:])) or "none"
            raise RunError(
                f"model {self.db.run_id} has no version {number}: the newest are {known}"
            )
        return found[number]

    # Verdicts and champions --------------------------------------------------------------------

    def record_comparison(
        self, *, challenger: int, champion: int | None, verdict: Verdict, about: Mapping[str, Any]
    ) -> int:
        """A verdict with its evidence; returns its number.

        Args:
            challenger: the version that wants to become champion.
            champion: the version that it was compared with; None when there was none.
            verdict: what the gate says.
            about: what else is evidence, such as the test set's digest.
        """
        row = {
            "run": self.db.run,
            "challenger": challenger,
            "champion": champion,
            "promote": verdict.promote,
            "content": json.dumps({**asdict(verdict), **about}),
            "made": time.time(),
        }
        with self.db.writing(checked=False) as c:
            key = c.execute(insert(t.comparisons).values(**row)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def comparison(self, number: int) -> dict[str, Any]:
        """A verdict: `challenger`, `champion`, `promote`, `reason`, `checks`, ..."""
        query = select(t.comparisons).where(
            t.comparisons.c.run == self.db.run, t.comparisons.c.id == number
        )
        rows = self.db.rows(query)
        if not rows:
            raise RunError(f"model {self.db.run_id} has no verdict {number}")
        row = rows[0]
        content: dict[str, Any] = json.loads(row.content)
        return {**content, "challenger": row.challenger, "champion": row.champion}

    def promotions(self) -> list[Promotion]:
        """The history of champions, the oldest event first."""
        query = select(t.promotions).where(t.promotions.c.run == self.db.run)
        names = Promotion.__dataclass_fields__
        return [
            Promotion(**{name: getattr(row, name) for name in names})
            for row in self.db.rows(query.order_by(t.promotions.c.sequence))
        ]

    def champion(self) -> int | None:
        """The version that is champion now; None while there is none."""
        query = select(t.promotions.c.champion).where(t.promotions.c.run == self.db.run)
        found = self.db.value(query.order_by(t.promotions.c.sequence.desc()).limit(1))
        return None if found is None else int(found)

    def record_promotion(
        self,
        event: str,
        *,
        version: int,
        expected: int | None,
        champion: int | None,
        reason: str,
        comparison: int | None = None,
    ) -> Promotion:
        """One event in the history of champions, unless the champion is another one by now.

        Args:
            event: `promoted`, `discarded` or `rolled-back`.
            version: whom it is about.
            expected: who must be champion before.
            champion: who is champion afterwards.
            reason: why, in words.
            comparison: the verdict that is its evidence.

        Raises:
            ChampionChangedError: another one became champion meanwhile; nothing is written.
        """
        while True:
            try:
                with self.db.writing(checked=False) as c:
                    return self._promote(
                        c, event, version, expected, champion, reason, comparison
                    )
            except IntegrityError:  # another process took this number at the same moment
                continue

    def _promote(
        self, c: Connection, event: str, version: int, expected: int | None,
        champion: int | None, reason: str, comparison: int | None,
    ) -> Promotion:  # fmt: skip
        query = select(t.promotions).where(t.promotions.c.run == self.db.run)
        newest = c.execute(query.order_by(t.promotions.c.sequence.desc()).limit(1)).first()
        present = None if newest is None else newest.champion
        if present != expected:
            raise ChampionChangedError(
                f"version {version} of {self.db.run_id} was compared with "
                f"{_words(expected)}, and by now {_words(present)} is champion: compare again"
            )
        made = Promotion(
            sequence=1 + (0 if newest is None else newest.sequence),
            event=event,
            version=version,
            champion_before=present,
            champion=champion,
            comparison=comparison,
            reason=reason,
            made=time.time(),
        )
        self.db.add(c, t.promotions, [asdict(made)])
        crash_point("promote.transaction")
        return made


def _words(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
