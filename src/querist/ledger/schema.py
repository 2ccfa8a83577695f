"""The ledger's tables as they are made, checked and brought up to date.

A new ledger gets its tables at once. Alembic's migrations, which take a moment to import, are for
ledgers that an older version made; a test holds the two equal.
"""

from __future__ import annotations

import logging
from importlib.resources import files

from sqlalchemy import Connection, insert, inspect, select

from querist.errors import RunError
from querist.ledger import tables as t
from querist.ledger.database import Database

_CREATION_LOCK = 7_148_260_519_332_001
"""PostgreSQL's advisory lock while tables are made or changed: any number, always the same."""


def create_tables(database: Database) -> None:
    """Make the tables, unless they are there."""
    with database.writing(checked=False) as connection:
        _alone(connection)
        if not inspect(connection).has_table(t.alembic_version.name):
            t.metadata.create_all(connection)
            connection.execute(insert(t.alembic_version).values(version_num=t.SCHEMA_VERSION))


def schema_version(database: Database) -> str:
    """The newest migration that this ledger has had; `1` before there were migrations.

    Raises:
        RunError: it is no ledger.
    """
    with database.errors(), database.engine.connect() as connection:
        return _version(connection, database)


def _version(connection: Connection, database: Database) -> str:
    present = inspect(connection)
    if present.has_table(t.alembic_version.name):
        return str(connection.scalar(select(t.alembic_version.c.version_num)))
    if present.has_table("facts"):
        return "1"
    raise RunError(f"{database.place} is no ledger: bring back a copy, or start a new run")


def check_schema(database: Database) -> None:
    """Refuse a ledger that another version of Querist wrote.

    Raises:
        RunError: what to do about it.
    """
    found = schema_version(database)
    if found == t.SCHEMA_VERSION:
        return
    if found in known_versions():
        raise RunError(
            f"{database.place} has ledger schema {found}, this Querist reads {t.SCHEMA_VERSION}: "
            f"`querist resume {database.run_id}` brings it up to date"
        )
    raise RunError(
        f"{database.place} has ledger schema {found}, this Querist reads {t.SCHEMA_VERSION}: "
        "use the version of Querist that made it"
    )


def known_versions() -> list[str]:
    """What this Querist can bring up to date, oldest first."""
    scripts = files("querist.ledger.migrations.versions").iterdir()
    return ["1", *sorted(s.name[:4] for s in scripts if s.name[:4].isdecimal())]


def bring_up_to_date(database: Database) -> str | None:
    """Apply the migrations that a ledger lacks, all or none; returns the version it had.

    Returns None when there was nothing to do.

    Raises:
        RunError: a newer Querist made it, or it is no ledger.
    """
    found = schema_version(database)
    if found == t.SCHEMA_VERSION:
        return None
    if found not in known_versions():
        check_schema(database)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    with database.writing(checked=False) as connection:
        _alone(connection)
        found = _version(connection, database)
        if found == t.SCHEMA_VERSION:
            return None
        config = Config()
        config.set_main_option("script_location", "querist.ledger:migrations")
        config.attributes.update(connection=connection, run_id=database.run_id)
        if found == "1":
            command.stamp(config, "0001")
        command.upgrade(config, "head")
    return found


def _alone(connection: Connection) -> None:
    """Keep others from making the same tables; SQLite has begun IMMEDIATE."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")
