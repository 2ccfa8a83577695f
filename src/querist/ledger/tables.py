"""The ledger's tables. Rows are only ever added: triggers refuse everything else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from querist.ledger.model_tables import MODEL_TABLES, add_model_tables

SCHEMA_VERSION = "0003"
"""The newest migration."""

metadata = MetaData()


def _run(primary_key: bool = True) -> Column[int]:
    return Column("run", Integer, ForeignKey("runs.id"), primary_key=primary_key, nullable=False)


def _number() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


runs = Table(
    "runs",
    metadata,
    _number(),
    Column("run_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created", Float, nullable=False),
    UniqueConstraint("run_id", "attempt", name="made_once"),
    comment="the runs of this ledger; of attempts to make one that were cut off the newest counts",
)

leases = Table(
    "leases",
    metadata,
    _run(),
    Column("fence", Integer, primary_key=True),
    Column("holder", String(300), nullable=False),
    Column("acquired", Float, nullable=False),
    comment="who may write: the holder of the highest fencing number",
)

facts = Table(
    "facts",
    metadata,
    _number(),
    _run(primary_key=False),
    Column("key", String(100), nullable=False),
    Column("value", Text, nullable=False),
    Index("facts_by_key", "run", "key"),
    comment="what holds for the whole run: fingerprint, outcome; the newest value counts",
)

subsets = Table(
    "subsets",
    metadata,
    _run(),
    Column("subset", String(20), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sample", Integer, nullable=False),
    comment="which samples are held back, and which were labeled at the start; never changes",
)

samples = Table(
    "samples",
    metadata,
    _run(),
    Column("sample", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    comment="samples that were made on the way, as JSON",
)

phases = Table(
    "phases",
    metadata,
    _run(),
    Column("iteration", Integer, primary_key=True),
    Column("phase", String(20), primary_key=True),
    Column("started", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("outcome", Text, nullable=False),
    comment="phases that are done, with what they did as JSON",
)

selections = Table(
    "selections",
    metadata,
    _run(),
    Column("iteration", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sample", Integer, nullable=False),
    Column("score", Float),
    Column("strategy", String(200), nullable=False),
    UniqueConstraint("run", "sample", name="selected_once"),
    comment="what the query strategies chose",
)

requests = Table(
    "requests",
    metadata,
    _run(),
    Column("sample", Integer, primary_key=True),
    Column("iteration", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("key", String(64), nullable=False),
    UniqueConstraint("run", "key", name="requested_once"),
    comment="labels that are wanted; written with the selection, before anybody is asked",
)

claims = Table(
    "claims",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _run(primary_key=False),
    Column("claimed", Float, nullable=False),
    comment="keys that a source was asked for: one run asks, the newest claim says which",
)

request_events = Table(
    "request_events",
    metadata,
    _number(),
    _run(primary_key=False),
    Column("key", String(64), nullable=False),
    Column("event", String(20), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("request_events_by_key", "run", "key"),
    comment="what happened to a request; the newest event says where it stands",
)

labels = Table(
    "labels",
    metadata,
    _number(),
    _run(primary_key=False),
    Column("sample", Integer, nullable=False),
    Column("key", String(64)),
    Column("source", String(200), nullable=False),
    Column("source_version", String(64), nullable=False),
    Column("annotator", String(200), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("value", Text, nullable=False),
    Column("cost", Float, nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("arrived", Float, nullable=False),
    UniqueConstraint(
        "run", "sample", "source", "source_version", "annotator", "revision", name="labeled_once"
    ),
    Index("labels_by_key", "key"),
    Index("labels_by_iteration", "run", "iteration"),
    comment="every label, durable the moment it arrived; a correction is a new revision",
)

quarantine = Table(
    "quarantine",
    metadata,
    _number(),
    _run(primary_key=False),
    Column("iteration", Integer, nullable=False),
    Column("sample", Text, nullable=False),
    Column("source", String(200), nullable=False),
    Column("annotator", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("cost", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
    comment="answers that cannot be labels, as text, with the reason; never trained on",
)

metrology = Table(
    "metrology",
    metadata,
    _run(),
    Column("iteration", Integer, primary_key=True),
    Column("metric", String(200), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("value", Float),
    Column("labels", Integer, nullable=False),
    comment="what was measured; NULL stands for NaN",
)

verdicts = Table(
    "verdicts",
    metadata,
    _run(),
    Column("iteration", Integer, primary_key=True),
    Column("promote", Boolean, nullable=False),
    Column("content", Text, nullable=False),
    comment="the gate's decisions with their evidence, as JSON",
)

commits = Table(
    "commits",
    metadata,
    _run(),
    Column("iteration", Integer, primary_key=True),
    Column("labels", Integer, nullable=False),
    Column("settings", Text, nullable=False),
    Column("checkpoint", Text),
    Column("digests", Text, nullable=False),
    Column("committed", Float, nullable=False),
    comment="iterations that are whole, with the SHA-256 of everything in them, as JSON",
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
    comment="the newest migration that was applied",
)

add_model_tables(metadata)
items, answers, retrainings, steps, versions, comparisons, promotions = (
    metadata.tables[name] for name in MODEL_TABLES
)

APPEND_ONLY = tuple(table.name for table in metadata.sorted_tables if table is not alembic_version)

_ddl: Any = DDL  # carries no annotations
_REFUSAL = "rows of the ledger are only ever added"


def append_only(table: str) -> dict[str, list[str]]:
    """The statements that make a table append-only, by SQL dialect."""
    return {
        "sqlite": [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            for verb in ("UPDATE", "DELETE")
        ],
        "postgresql": [
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION querist_refuse()",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION querist_refuse()",
        ],
    }


REFUSING_FUNCTION = (
    "CREATE OR REPLACE FUNCTION querist_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
)

event.listen(metadata, "before_create", _ddl(REFUSING_FUNCTION).execute_if(dialect="postgresql"))
for _name in APPEND_ONLY:
    for _dialect, _statements in append_only(_name).items():
        for _statement in _statements:
            event.listen(
                metadata.tables[_name],
                "after_create",
                _ddl(_statement).execute_if(dialect=_dialect),
            )
