"""The ledger's tables of a registered model: what its versions learned from, and who is champion.

They are in the same database and under the same rules as those of runs: a registered model stands
among the runs, and its rows are only ever added.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

MODEL_TABLES = ("items", "answers", "retrainings", "steps", "versions", "comparisons", "promotions")


def add_model_tables(metadata: MetaData) -> None:
    """Declare the tables in `metadata`."""

    def model(primary_key: bool = True) -> Column[int]:
        return Column(
            "run", Integer, ForeignKey("runs.id"), primary_key=primary_key, nullable=False
        )

    def number() -> Column[int]:
        return Column("id", Integer, primary_key=True, autoincrement=True)

    Table(
        "items",
        metadata,
        model(),
        Column("item", String(500), primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("subset", String(20), nullable=False),
        Column("retraining", Integer, nullable=False),
        Index("items_by_digest", "run", "digest"),
        comment="the subset of every item; it never changes",
    )
    Table(
        "answers",
        metadata,
        number(),
        model(primary_key=False),
        Column("item", String(500), nullable=False),
        Column("value", Text, nullable=False),
        Column("metadata", Text, nullable=False),
        Column("retraining", Integer, nullable=False),
        UniqueConstraint("run", "item", "retraining", name="answered_once"),
        comment="labels and metadata of items, as JSON, as a retraining found them; newest counts",
    )
    Table(
        "retrainings",
        metadata,
        model(),
        Column("retraining", Integer, primary_key=True, autoincrement=False),
        Column("key", String(64), nullable=False),
        Column("window", Text, nullable=False),
        Column("fingerprint", String(64), nullable=False),
        Column("settings", Text, nullable=False),
        Column("started", Float, nullable=False),
        UniqueConstraint("run", "key", name="retrained_once"),
        comment="retrainings: one for a window and what there was to learn in it",
    )
    Table(
        "steps",
        metadata,
        model(),
        Column("retraining", Integer, primary_key=True, autoincrement=False),
        Column("step", String(20), primary_key=True),
        Column("outcome", Text, nullable=False),
        Column("started", Float, nullable=False),
        Column("ended", Float, nullable=False),
        comment="steps of retrainings that are done, with what they did as JSON",
    )
    Table(
        "versions",
        metadata,
        model(),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("parent", Integer),
        Column("fingerprint", String(64), nullable=False),
        Column("settings", Text, nullable=False),
        Column("checkpoint", String(64), nullable=False),
        Column("made", Float, nullable=False),
        comment="versions whose weights are stored: where they come from, and their SHA-256",
    )
    Table(
        "comparisons",
        metadata,
        number(),
        model(primary_key=False),
        Column("challenger", Integer, nullable=False),
        Column("champion", Integer),
        Column("promote", Boolean, nullable=False),
        Column("content", Text, nullable=False),
        Column("made", Float, nullable=False),
        comment="verdicts between versions with their evidence, as JSON",
    )
    Table(
        "promotions",
        metadata,
        model(),
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        Column("event", String(20), nullable=False),
        Column("version", Integer, nullable=False),
        Column("champion_before", Integer),
        Column("champion", Integer),
        Column("comparison", Integer),
        Column("reason", Text, nullable=False),
        Column("made", Float, nullable=False),
        comment="who became champion, who was discarded, who came back: the newest row counts",
    )
