"""Registered models: items and their subsets, retrainings, versions, verdicts, promotions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COMMENTS = {
    "items": "the subset of every item; it never changes",
    "answers": "labels and metadata of items, as JSON, as a retraining found them; newest counts",
    "retrainings": "retrainings: one for a window and what there was to learn in it",
    "steps": "steps of retrainings that are done, with what they did as JSON",
    "versions": "versions whose weights are stored: where they come from, and their SHA-256",
    "comparisons": "verdicts between versions with their evidence, as JSON",
    "promotions": "who became champion, who was discarded, who came back: the newest row counts",
}
REFUSAL = "rows of the ledger are only ever added"


def upgrade() -> None:
    """Make the tables, and close them to changes."""
    _make_item_tables()
    _make_retraining_tables()
    _make_champion_tables()
    _refuse_changes()
    if op.get_bind().dialect.supports_comments:
        for table, words in COMMENTS.items():
            op.create_table_comment(table, words)


def _model(primary_key: bool = True) -> sa.Column[int]:
    return sa.Column(
        "run", sa.Integer, sa.ForeignKey("runs.id"), primary_key=primary_key, nullable=False
    )


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _make_item_tables() -> None:
    op.create_table(
        "items",
        _model(),
        sa.Column("item", sa.String(500), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("subset", sa.String(20), nullable=False),
        sa.Column("retraining", sa.Integer, nullable=False),
    )
    op.create_index("items_by_digest", "items", ["run", "digest"])
    op.create_table(
        "answers",
        _number(),
        _model(primary_key=False),
        sa.Column("item", sa.String(500), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("retraining", sa.Integer, nullable=False),
        sa.UniqueConstraint("run", "item", "retraining", name="answered_once"),
    )


def _make_retraining_tables() -> None:
    op.create_table(
        "retrainings",
        _model(),
        _key("retraining"),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("window", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.UniqueConstraint("run", "key", name="retrained_once"),
    )
    op.create_table(
        "steps",
        _model(),
        _key("retraining"),
        sa.Column("step", sa.String(20), primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
    )


def _make_champion_tables() -> None:
    op.create_table(
        "versions",
        _model(),
        _key("version"),
        sa.Column("parent", sa.Integer),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.String(64), nullable=False),
        sa.Column("made", sa.Float, nullable=False),
    )
    op.create_table(
        "comparisons",
        _number(),
        _model(primary_key=False),
        sa.Column("challenger", sa.Integer, nullable=False),
        sa.Column("champion", sa.Integer),
        sa.Column("promote", sa.Boolean, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
    )
    op.create_table(
        "promotions",
        _model(),
        _key("sequence"),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("champion_before", sa.Integer),
        sa.Column("champion", sa.Integer),
        sa.Column("comparison", sa.Integer),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
    )


def _refuse_changes() -> None:
    """Triggers that let rows only be added; PostgreSQL has the function from the one before."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in COMMENTS:
        if sqlite:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
                )
            continue
        for name, when, each in (
            ("append_only", "UPDATE OR DELETE", "ROW"),
            ("no_truncate", "TRUNCATE", "STATEMENT"),
        ):
            op.execute(
                f"CREATE TRIGGER {table}_{name} BEFORE {when} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION querist_refuse()"
            )
