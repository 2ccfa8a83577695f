"""Reading and writing a run's ledger, one durable transaction per fact."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Connection, Engine, create_engine, event, func, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from querist.errors import LabelError, RunError, StorageError
from querist.ledger import tables as t
from querist.values import Label, LabelValue, Phase, Verdict

INITIAL = "initial"
"""The source and the subset name of labels that were there at the start."""


@dataclass(frozen=True)
class OpenRequest:
    """A label that was asked for and has not come."""

    sample: int
    iteration: int
    position: int
    key: str


def connect(path: Path) -> Engine:
    """An engine on a SQLite ledger: WAL, and every commit synced to the disk."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


class Ledger:
    """The ledger of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = connect(path)

    def create(self) -> None:
        """Make the tables."""
        with self._errors():
            t.metadata.create_all(self._engine)
        self.set_fact("schema", t.SCHEMA_VERSION)

    def check_schema(self) -> None:
        """Refuse a ledger that another version of Querist wrote.

        Raises:
            RunError: its schema is not ours.
        """
        found = self.fact("schema")
        if found != t.SCHEMA_VERSION:
            raise RunError(
                f"{self.path} has ledger schema {found}, this Querist reads {t.SCHEMA_VERSION}: "
                "use the version of Querist that made the run"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise StorageError(
                f"{self.path} could not be used, {error.orig}: make room or give access, then "
                "resume; everything before is stored"
            ) from error
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise RunError(
                f"{self.path} is damaged, {error.orig}: bring back a copy, or start a new run"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._errors(), self._engine.begin() as connection:
            yield connection

    def _rows(self, query: Any) -> list[Any]:
        with self._errors(), self._engine.connect() as connection:
            return list(connection.execute(query))

    # Facts -------------------------------------------------------------------------------------

    def set_fact(self, key: str, value: str) -> None:
        """Write down something that holds for the whole run; the newest value counts."""
        with self._transaction() as c:
            if c.execute(select(t.facts.c.key).where(t.facts.c.key == key)).first():
                c.execute(t.facts.update().where(t.facts.c.key == key).values(value=value))
            else:
                c.execute(insert(t.facts).values(key=key, value=value))

    def fact(self, key: str) -> str | None:
        """What was written down under `key`."""
        rows = self._rows(select(t.facts.c.value).where(t.facts.c.key == key))
        return str(rows[0][0]) if rows else None

    # Subsets and made samples ------------------------------------------------------------------

    def record_start(
        self, subsets: Mapping[str, torch.Tensor], labels: Sequence[Label], when: float
    ) -> None:
        """The split and the initial labels, in one transaction."""
        rows = [
            {"subset": name, "position": position, "sample": sample}
            for name, indices in subsets.items()
            for position, sample in enumerate(indices.tolist())
        ]
        with self._transaction() as c:
            if rows:
                c.execute(insert(t.subsets), rows)
            if labels:
                c.execute(insert(t.labels), [_label_row(x, INITIAL, -1, when) for x in labels])

    def subset(self, name: str) -> torch.Tensor:
        """The samples of a subset, in their order."""
        query = select(t.subsets.c.sample).where(t.subsets.c.subset == name)
        rows = self._rows(query.order_by(t.subsets.c.position))
        return torch.tensor([row[0] for row in rows], dtype=torch.int64)

    def made_samples(self) -> list[bytes]:
        """Content of the samples that were made on the way, in the order of their indices."""
        rows = self._rows(select(t.samples.c.content).order_by(t.samples.c.sample))
        return [bytes(row[0]) for row in rows]

    def made_count(self) -> int:
        """How many samples were made on the way."""
        return int(self._rows(select(func.count()).select_from(t.samples))[0][0])

    # Phases and commits ------------------------------------------------------------------------

    def record_phase(
        self, iteration: int, phase: Phase, started: float, outcome: Mapping[str, Any]
    ) -> None:
        """A phase is done. Recording it again changes nothing."""
        with self._transaction() as c:
            self._record_phase(c, iteration, phase, started, outcome)

    def _record_phase(
        self,
        c: Connection,
        iteration: int,
        phase: Phase,
        started: float,
        outcome: Mapping[str, Any],
    ) -> None:
        c.execute(
            insert(t.phases)
            .prefix_with("OR IGNORE")
            .values(
                iteration=iteration,
                phase=phase.value,
                started=started,
                ended=time.time(),
                outcome=json.dumps(outcome),
            )
        )

    def done_phases(self, iteration: int) -> set[Phase]:
        """The phases of an iteration that are done."""
        rows = self._rows(select(t.phases.c.phase).where(t.phases.c.iteration == iteration))
        return {Phase(row[0]) for row in rows}

    def phase_rows(
        self, iteration: int | None = None
    ) -> list[tuple[int, Phase, float, dict[str, Any]]]:
        """Iteration, phase, seconds and outcome of every phase that is done (in one iteration)."""
        query = select(t.phases).order_by(t.phases.c.iteration, t.phases.c.started)
        if iteration is not None:
            query = query.where(t.phases.c.iteration == iteration)
        return [
            (row.iteration, Phase(row.phase), row.ended - row.started, json.loads(row.outcome))
            for row in self._rows(query)
        ]

    def commit_iteration(
        self, iteration: int, labels: int, settings: Mapping[str, Any], checkpoint: str | None
    ) -> None:
        """The iteration is whole. Committing it again changes nothing."""
        with self._transaction() as c:
            c.execute(
                insert(t.commits)
                .prefix_with("OR IGNORE")
                .values(
                    iteration=iteration,
                    labels=labels,
                    settings=json.dumps(settings),
                    checkpoint=checkpoint,
                    committed=time.time(),
                )
            )

    def next_iteration(self) -> int:
        """The first iteration that is not whole."""
        rows = self._rows(select(func.max(t.commits.c.iteration)))
        return 0 if rows[0][0] is None else int(rows[0][0]) + 1

    def commit_rows(self) -> list[Any]:
        """Every committed iteration: iteration, labels, settings, checkpoint, committed."""
        return self._rows(select(t.commits).order_by(t.commits.c.iteration))

    # Selections, requests, labels --------------------------------------------------------------

    def record_selection(
        self,
        iteration: int,
        chosen: Sequence[tuple[int, float, str]],
        *,
        keys: Sequence[str] | None,
        made: Mapping[int, bytes],
        started: float,
    ) -> None:
        """The selection, its requests, and that the query phase is done, in one transaction.

        Args:
            iteration: the iteration that asks.
            chosen: sample, score and strategy, most wanted first.
            keys: one request key per sample; None when nobody is going to be asked.
            made: content of samples that are new.
            started: when the phase started.
        """
        with self._transaction() as c:
            if made:
                c.execute(
                    insert(t.samples).prefix_with("OR IGNORE"),
                    [{"sample": sample, "content": content} for sample, content in made.items()],
                )
            if chosen:
                c.execute(
                    insert(t.selections).prefix_with("OR IGNORE"),
                    [
                        {
                            "iteration": iteration,
                            "position": position,
                            "sample": sample,
                            "score": score,
                            "strategy": strategy,
                        }
                        for position, (sample, score, strategy) in enumerate(chosen)
                    ],
                )
            if chosen and keys is not None:
                c.execute(
                    insert(t.requests).prefix_with("OR IGNORE"),
                    [
                        {"sample": s, "iteration": iteration, "position": position, "key": key}
                        for position, ((s, _, _), key) in enumerate(zip(chosen, keys, strict=True))
                    ],
                )
            self._record_phase(c, iteration, Phase.QUERY, started, {"selected": len(chosen)})

    def selected(self, iteration: int | None = None) -> torch.Tensor:
        """All samples that were ever selected (or in one iteration), in order."""
        query = select(t.selections.c.sample)
        if iteration is not None:
            query = query.where(t.selections.c.iteration == iteration)
        rows = self._rows(query.order_by(t.selections.c.iteration, t.selections.c.position))
        return torch.tensor([row[0] for row in rows], dtype=torch.int64)

    def open_requests(self) -> list[OpenRequest]:
        """Requests without a label, oldest first."""
        answered = select(t.labels.c.sample)
        query = select(t.requests).where(t.requests.c.sample.not_in(answered))
        order = (t.requests.c.iteration, t.requests.c.position)
        return [
            OpenRequest(row.sample, row.iteration, row.position, row.key)
            for row in self._rows(query.order_by(*order))
        ]

    def record_label(self, label: Label, *, source: str, iteration: int) -> bool:
        """Make one label durable; False when the same label was there already.

        Raises:
            LabelError: the same source said something else about the sample before.
        """
        row = _label_row(label, source, iteration, time.time())
        try:
            with self._transaction() as c:
                c.execute(insert(t.labels).values(**row))
        except IntegrityError:
            present = self._rows(
                select(t.labels.c.value).where(
                    t.labels.c.sample == label.index,
                    t.labels.c.source == source,
                    t.labels.c.annotator == label.annotator,
                )
            )
            if present and present[0][0] != row["value"]:
                raise LabelError(
                    f"sample {label.index} is labeled {present[0][0]} by {source}, which now says "
                    f"{row['value']}: the first label is kept"
                ) from None
            return False
        return True

    def label_rows(self, before_iteration: int | None = None) -> list[tuple[int, str, LabelValue]]:
        """Sample, annotator and value, the initial ones first, then by iteration and position.

        Args:
            before_iteration: only labels that were there when this iteration started training.
        """
        position = func.coalesce(t.selections.c.position, t.subsets.c.position, 0)
        asked_in = func.coalesce(t.selections.c.iteration, -1)
        query = (
            select(t.labels.c.sample, t.labels.c.annotator, t.labels.c.value)
            .outerjoin(t.selections, t.selections.c.sample == t.labels.c.sample)
            .outerjoin(
                t.subsets,
                (t.subsets.c.sample == t.labels.c.sample) & (t.subsets.c.subset == INITIAL),
            )
            .order_by(asked_in, position, t.labels.c.annotator)
        )
        if before_iteration is not None:
            query = query.where(t.labels.c.iteration < before_iteration)
        return [(row[0], row[1], json.loads(row[2])) for row in self._rows(query)]

    def labels_spent(self) -> tuple[int, float]:
        """How many labels were bought (the initial ones apart), and their cost."""
        query = select(func.count(), func.coalesce(func.sum(t.labels.c.cost), 0.0))
        row = self._rows(query.where(t.labels.c.source != INITIAL))[0]
        return int(row[0]), float(row[1])

    # Metrology and verdicts --------------------------------------------------------------------

    def record_metrology(
        self, iteration: int, values: Mapping[str, float], labels: int, started: float
    ) -> None:
        """What was measured, and that the metrology phase is done, in one transaction."""
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
        with self._transaction() as c:
            if rows:
                c.execute(insert(t.metrology).prefix_with("OR IGNORE"), rows)
            self._record_phase(c, iteration, Phase.METROLOGY, started, dict(values))

    def metrology(self) -> dict[int, dict[str, float]]:
        """Metric values by iteration, in the order they were measured in."""
        found: dict[int, dict[str, float]] = {}
        query = select(t.metrology).order_by(t.metrology.c.iteration, t.metrology.c.position)
        for row in self._rows(query):
            value = math.nan if row.value is None else row.value
            found.setdefault(row.iteration, {})[row.metric] = value
        return found

    def metrology_labels(self) -> dict[int, int]:
        """How many labels the measured models had, by iteration."""
        query = select(t.metrology.c.iteration, t.metrology.c.labels).distinct()
        return {row.iteration: row.labels for row in self._rows(query)}

    def record_verdict(self, iteration: int, verdict: Verdict) -> None:
        """A gate's decision. Recording it again changes nothing."""
        with self._transaction() as c:
            c.execute(
                insert(t.verdicts)
                .prefix_with("OR IGNORE")
                .values(
                    iteration=iteration,
                    promote=verdict.promote,
                    content=json.dumps(asdict(verdict)),
                )
            )

    def champion(self) -> int | None:
        """The iteration whose model was promoted last."""
        query = select(func.max(t.verdicts.c.iteration)).where(t.verdicts.c.promote)
        found = self._rows(query)[0][0]
        return None if found is None else int(found)

    def verdicts(self) -> dict[int, dict[str, Any]]:
        """Every verdict by iteration."""
        rows = self._rows(select(t.verdicts).order_by(t.verdicts.c.iteration))
        return {row.iteration: json.loads(row.content) for row in rows}


def _label_row(label: Label, source: str, iteration: int, when: float) -> dict[str, Any]:
    return {
        "sample": label.index,
        "source": source,
        "annotator": label.annotator,
        "value": json.dumps(label.value),
        "cost": label.cost,
        "iteration": iteration,
        "arrived": when,
    }
