"""The ledger's tables. Rows are only ever added."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = "1"

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
    comment="what holds for the whole run: schema version, fingerprints, outcome",
)

subsets = Table(
    "subsets",
    metadata,
    Column("subset", String(20), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sample", Integer, nullable=False),
    comment="which samples are held back, and which were labeled at the start; never changes",
)

samples = Table(
    "samples",
    metadata,
    Column("sample", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    comment="samples that were made on the way, as JSON",
)

phases = Table(
    "phases",
    metadata,
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
    Column("iteration", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sample", Integer, nullable=False),
    Column("score", Float),
    Column("strategy", String(200), nullable=False),
    UniqueConstraint("sample"),
    comment="what the query strategies chose",
)

requests = Table(
    "requests",
    metadata,
    Column("sample", Integer, primary_key=True),
    Column("iteration", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("key", String(64), nullable=False, unique=True),
    comment="labels that were asked for; written before anybody is asked",
)

labels = Table(
    "labels",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sample", Integer, nullable=False),
    Column("source", String(200), nullable=False),
    Column("annotator", String(200), nullable=False),
    Column("value", Text, nullable=False),
    Column("cost", Float, nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("arrived", Float, nullable=False),
    UniqueConstraint("sample", "source", "annotator"),
    comment="every label, durable the moment it arrived",
)

metrology = Table(
    "metrology",
    metadata,
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
    Column("iteration", Integer, primary_key=True),
    Column("promote", Boolean, nullable=False),
    Column("content", Text, nullable=False),
    comment="the gate's decisions with their evidence, as JSON",
)

commits = Table(
    "commits",
    metadata,
    Column("iteration", Integer, primary_key=True),
    Column("labels", Integer, nullable=False),
    Column("settings", Text, nullable=False),
    Column("checkpoint", Text),
    Column("committed", Float, nullable=False),
    comment="iterations that are whole, with the settings in force and the checkpoint's SHA-256",
)
