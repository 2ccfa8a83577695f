"""The tables of Querist 0.1 before there were migrations: one run a file."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "facts",
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "subsets",
        sa.Column("subset", sa.String(20), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("sample", sa.Integer, nullable=False),
    )
    op.create_table(
        "samples",
        sa.Column("sample", sa.Integer, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "phases",
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("phase", sa.String(20), primary_key=True),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_table(
        "selections",
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("sample", sa.Integer, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("strategy", sa.String(200), nullable=False),
        sa.UniqueConstraint("sample"),
    )
    op.create_table(
        "requests",
        sa.Column("sample", sa.Integer, primary_key=True),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
    )
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("sample", sa.Integer, nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("arrived", sa.Float, nullable=False),
        sa.UniqueConstraint("sample", "source", "annotator"),
    )
    op.create_table(
        "metrology",
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("metric", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("labels", sa.Integer, nullable=False),
    )
    op.create_table(
        "verdicts",
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("promote", sa.Boolean, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "commits",
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("labels", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text),
        sa.Column("committed", sa.Float, nullable=False),
    )
