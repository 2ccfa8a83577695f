"""Tables made at once, and tables made by migrations: the same; versions that do not fit."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from querist.errors import RunError
from querist.ledger import Ledger, schema
from querist.ledger import tables as t
from querist.ledger.database import Database

from .conftest import Place, answer

Opened = Callable[[Place], Ledger]


def migrate_from_nothing(place: Place) -> Database:
    """All migrations, one after the other, on an empty database."""
    database = Database(place.where, place.run_id)
    with database.writing(checked=False) as connection:
        config = Config()
        config.set_main_option("script_location", "querist.ledger:migrations")
        config.attributes.update(connection=connection, run_id=place.run_id)
        command.upgrade(config, "head")
    return database


def sqlite_structure(place: Place) -> dict[str, Any]:
    tables = [n for (n,) in place.raw("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found: dict[str, Any] = {}
    for table in tables:
        found[table, "columns"] = place.raw(f"PRAGMA table_info({table})")
        found[table, "references"] = place.raw(f"PRAGMA foreign_key_list({table})")
        indices = place.raw(f"PRAGMA index_list({table})")
        found[table, "indices"] = sorted(
            (origin, unique, [row[1:] for row in place.raw(f"PRAGMA index_info({name})")])
            + (() if origin != "c" else (name,))
            for _, name, unique, origin, _ in indices
        )
    found["triggers"] = sorted(
        place.raw("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    )
    return found


def postgres_structure(place: Place) -> dict[str, Any]:
    queries = {
        "columns": "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, "
        "character_maximum_length FROM information_schema.columns WHERE table_schema = 'public' "
        "ORDER BY 1, 3",
        "constraints": "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "indices": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
        "ORDER BY 1",
        "comments": "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    }
    found: dict[str, Any] = {what: place.raw(query) for what, query in queries.items()}
    # Names that PostgreSQL gives to indices of its own do not matter.
    found["indices"] = sorted(
        (table, re.sub(r"INDEX \w+_(pkey|key|pkc)\d* ", "INDEX ", definition))
        for table, definition in found["indices"]
    )
    return found


def test_migrations_and_metadata_agree(own_place: Place, tmp_path: Path) -> None:
    database = migrate_from_nothing(own_place)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, t.metadata) == []
    database.close()
    assert schema.schema_version(database) == t.SCHEMA_VERSION
    database.close()


def test_migrated_sqlite_is_like_a_new_one(tmp_path: Path, opened: Opened) -> None:
    migrated = Place(tmp_path / "migrated.db", "a")
    migrate_from_nothing(migrated).close()
    made = Place(tmp_path / "made.db", "a")
    opened(made).create()
    assert sqlite_structure(migrated) == sqlite_structure(made)


def test_migrated_postgresql_is_like_a_new_one(
    postgres: Any, postgres_url: str, opened: Opened
) -> None:
    made = Place(postgres_url, "a")
    opened(made).create()
    url = postgres.new_database()
    migrated = Place(url, "a")
    migrate_from_nothing(migrated).close()
    found, expected = postgres_structure(migrated), postgres_structure(made)
    for what in expected:
        assert found[what] == expected[what]
    postgres.drop_database(url)


def test_a_migrated_database_is_usable(own_place: Place, opened: Opened) -> None:
    migrate_from_nothing(own_place).close()
    ledger = opened(own_place)
    ledger.create()
    answer(ledger, 5)
    assert ledger.label_rows() == [(5, "", 1)]


def test_versions_are_numbered(tmp_path: Path) -> None:
    assert schema.known_versions() == ["1", "0001", "0002", "0003"]
    assert schema.known_versions()[-1] == t.SCHEMA_VERSION


def set_version(place: Place, version: str) -> None:
    place.raw(f"UPDATE alembic_version SET version_num = '{version}'")


def test_a_ledger_of_a_newer_version(own_place: Place, opened: Opened) -> None:
    opened(own_place).create()
    opened(own_place).check_schema()
    set_version(own_place, "0099")
    for refuse in (opened(own_place).check_schema, opened(own_place).open):
        with pytest.raises(
            RunError, match="has ledger schema 0099, this Querist reads .*: use the version of"
        ):
            refuse()


def test_a_ledger_of_an_older_version(own_place: Place, opened: Opened) -> None:
    opened(own_place).create()
    set_version(own_place, "0001")
    with pytest.raises(RunError, match="`querist resume mine` brings it up to date"):
        opened(own_place).check_schema()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, opened: Opened) -> None:
    place = Place(tmp_path / "mine" / "ledger.db", "mine")
    (tmp_path / "mine").mkdir()
    database = Database(place.where, "mine")
    with database.writing(checked=False) as connection:
        config = Config()
        config.set_main_option("script_location", "querist.ledger:migrations")
        config.attributes.update(connection=connection, run_id="mine")
        command.upgrade(config, "0001")
    place.raw("INSERT INTO facts VALUES ('schema', '1')")
    place.raw("CREATE TABLE claims (in_the_way INTEGER)")
    before = sqlite_structure(place)
    with pytest.raises(Exception, match="claims already exists"):
        opened(place).open()
    database.close()
    assert sqlite_structure(place) == before
    place.raw("DROP TABLE claims")
    assert opened(place).open() == "0001"


def test_another_application_of_sqlite_is_no_ledger(tmp_path: Path, opened: Opened) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE cookies (id INTEGER)")
    with pytest.raises(RunError, match="is no ledger"):
        opened(Place(tmp_path / "ledger.db", "mine")).open()
