"""Many runs in one database, append-only, with leases, claims, revisions and a quarantine."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"

OLD = (
    "facts", "subsets", "samples", "phases", "selections", "requests", "labels", "metrology",
    "verdicts", "commits",
)  # fmt: skip
APPEND_ONLY = (
    "runs", *OLD, "leases", "claims", "request_events", "quarantine",
)  # fmt: skip
COMMENTS = {
    "alembic_version": "the newest migration that was applied",
    "runs": "the runs of this ledger; of attempts to make one that were cut off the newest counts",
    "claims": "keys that a source was asked for: one run asks, the newest claim says which",
    "commits": "iterations that are whole, with the SHA-256 of everything in them, as JSON",
    "facts": "what holds for the whole run: fingerprint, outcome; the newest value counts",
    "labels": "every label, durable the moment it arrived; a correction is a new revision",
    "leases": "who may write: the holder of the highest fencing number",
    "metrology": "what was measured; NULL stands for NaN",
    "phases": "phases that are done, with what they did as JSON",
    "quarantine": "answers that cannot be labels, as text, with the reason; never trained on",
    "request_events": "what happened to a request; the newest event says where it stands",
    "requests": "labels that are wanted; written with the selection, before anybody is asked",
    "samples": "samples that were made on the way, as JSON",
    "selections": "what the query strategies chose",
    "subsets": "which samples are held back, and which were labeled at the start; never changes",
    "verdicts": "the gate's decisions with their evidence, as JSON",
}
REFUSAL = "rows of the ledger are only ever added"


def upgrade() -> None:
    """Make the new tables, bring over what the old ones hold, and close them to changes."""
    for table in OLD:
        op.rename_table(table, f"old_{table}")
    _make_run_tables()
    _make_request_tables()
    _make_label_tables()
    _make_iteration_tables()
    _bring_over()
    for table in OLD:
        op.drop_table(f"old_{table}")
    _refuse_changes()
    _say_what_they_hold()


def _run(primary_key: bool = True) -> sa.Column[int]:
    return sa.Column(
        "run", sa.Integer, sa.ForeignKey("runs.id"), primary_key=primary_key, nullable=False
    )


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _make_run_tables() -> None:
    op.create_table(
        "runs",
        _number(),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.UniqueConstraint("run_id", "attempt", name="made_once"),
    )
    op.create_table(
        "leases",
        _run(),
        sa.Column("fence", sa.Integer, primary_key=True),
        sa.Column("holder", sa.String(300), nullable=False),
        sa.Column("acquired", sa.Float, nullable=False),
    )
    op.create_table(
        "facts",
        _number(),
        _run(primary_key=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("facts_by_key", "facts", ["run", "key"])
    op.create_table(
        "subsets",
        _run(),
        sa.Column("subset", sa.String(20), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("sample", sa.Integer, nullable=False),
    )
    op.create_table(
        "samples",
        _run(),
        sa.Column("sample", sa.Integer, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def _make_request_tables() -> None:
    op.create_table(
        "selections",
        _run(),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("sample", sa.Integer, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("strategy", sa.String(200), nullable=False),
        sa.UniqueConstraint("run", "sample", name="selected_once"),
    )
    op.create_table(
        "requests",
        _run(),
        sa.Column("sample", sa.Integer, primary_key=True),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.UniqueConstraint("run", "key", name="requested_once"),
    )
    op.create_table(
        "claims",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _run(primary_key=False),
        sa.Column("claimed", sa.Float, nullable=False),
    )
    op.create_table(
        "request_events",
        _number(),
        _run(primary_key=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("request_events_by_key", "request_events", ["run", "key"])


def _make_label_tables() -> None:
    op.create_table(
        "labels",
        _number(),
        _run(primary_key=False),
        sa.Column("sample", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("source_version", sa.String(64), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("arrived", sa.Float, nullable=False),
        sa.UniqueConstraint(
            "run", "sample", "source", "source_version", "annotator", "revision",
            name="labeled_once",
        ),
    )  # fmt: skip
    op.create_index("labels_by_key", "labels", ["key"])
    op.create_index("labels_by_iteration", "labels", ["run", "iteration"])
    op.create_table(
        "quarantine",
        _number(),
        _run(primary_key=False),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("sample", sa.Text, nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )


def _make_iteration_tables() -> None:
    op.create_table(
        "phases",
        _run(),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("phase", sa.String(20), primary_key=True),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_table(
        "metrology",
        _run(),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("metric", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("labels", sa.Integer, nullable=False),
    )
    op.create_table(
        "verdicts",
        _run(),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("promote", sa.Boolean, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "commits",
        _run(),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("labels", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("committed", sa.Float, nullable=False),
    )


def _bring_over() -> None:
    """What an old ledger holds is of one run, whose id only its folder knows."""
    if not _any("old_facts"):
        return
    run_id = context.config.attributes["run_id"]
    created = _one("SELECT min(arrived) FROM old_labels") or 0.0
    op.execute(
        sa.text(
            "INSERT INTO runs (id, run_id, attempt, created) VALUES (1, :run_id, 0, :created)"
        ).bindparams(run_id=run_id, created=created)
    )
    _copy("facts", ["key", "value"], where="key != 'schema'")
    _copy("subsets", ["subset", "position", "sample"])
    _copy("samples", ["sample", "content"])
    _copy("phases", ["iteration", "phase", "started", "ended", "outcome"])
    _copy("selections", ["iteration", "position", "sample", "score", "strategy"])
    _copy("requests", ["sample", "iteration", "position", "key"])
    _copy("metrology", ["iteration", "metric", "position", "value", "labels"])
    _copy("verdicts", ["iteration", "promote", "content"])
    _copy(
        "commits",
        ["iteration", "labels", "settings", "checkpoint", "committed"],
        more={"digests": "'{}'"},
    )
    _copy(
        "labels",
        ["sample", "source", "annotator", "value", "cost", "iteration", "arrived"],
        more={"source_version": "''", "revision": "0", "used": "true"},
    )
    # Whether the process died before or after it asked was not written down then: a request of an
    # unfinished label phase is in doubt, one of a finished phase is pending.
    op.execute(
        "INSERT INTO request_events (run, key, event, fence, reason, at) "
        "SELECT 1, r.key, CASE WHEN p.phase IS NULL THEN 'asked' ELSE 'pending' END, 0, "
        "'asked by an older version of Querist', 0 FROM old_requests r "
        "LEFT JOIN old_phases p ON p.iteration = r.iteration AND p.phase = 'label' "
        "WHERE r.sample NOT IN (SELECT sample FROM old_labels)"
    )
    op.execute(
        "INSERT INTO claims (key, number, run, claimed) SELECT key, 0, 1, 0 FROM old_requests"
    )


def _copy(
    table: str, columns: Sequence[str], *, more: dict[str, str] | None = None, where: str = "true"
) -> None:
    more = more or {}
    op.execute(
        f"INSERT INTO {table} (run, {', '.join([*columns, *more])}) "
        f"SELECT 1, {', '.join([*columns, *more.values()])} FROM old_{table} WHERE {where}"
    )


def _any(table: str) -> bool:
    return _one(f"SELECT 1 FROM {table} LIMIT 1") is not None


def _one(query: str) -> Any:
    return op.get_bind().execute(sa.text(query)).scalar()


def _refuse_changes() -> None:
    """Triggers that let rows only be added."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
                )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION querist_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    for table in APPEND_ONLY:
        for name, when, each in (
            ("append_only", "UPDATE OR DELETE", "ROW"),
            ("no_truncate", "TRUNCATE", "STATEMENT"),
        ):
            op.execute(
                f"CREATE TRIGGER {table}_{name} BEFORE {when} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION querist_refuse()"
            )


def _say_what_they_hold() -> None:
    """Comments, where the database keeps them."""
    if op.get_bind().dialect.supports_comments:
        for table, words in COMMENTS.items():
            op.create_table_comment(table, words)
