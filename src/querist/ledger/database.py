"""One run's rows in a database: SQLite in the run's folder, or a shared PostgreSQL.

Every write is a transaction of its own that checks first whether this process still holds the run's
lease. It is durable when it returns, unless it only says that work is done which can be done again.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from querist.errors import ConfigurationError, LeaseLostError, RunError, StorageError
from querist.ledger import tables as t
from querist.storage.store import store

WAIT_SECONDS = 30
"""How long a transaction waits for another one's."""
SYNCHRONOUS = {True: "FULL", False: "NORMAL"}
"""How SQLite commits what must be on the disk when the commit returns, and what need not be."""
_SECRET_OPTIONS = ("password", "passfile", "sslpassword")
"""Options of a PostgreSQL URL that are nobody's business."""


def connect(where: Path | str) -> Engine:
    """An engine on a ledger whose commits are durable when they return.

    Args:
        where: a SQLite file, or the URL of a PostgreSQL database.

    Raises:
        ConfigurationError: another kind of database, or one whose driver is not installed.
    """
    if isinstance(where, Path):
        return _sqlite(where)
    try:
        url = make_url(where)
    except (SQLAlchemyError, ValueError):
        # Without the cause, whose words may hold a piece of the password.
        raise ConfigurationError(
            "the ledger's URL has the form postgresql+psycopg://USER:PASSWORD@HOST/DATABASE: "
            "what is set has not"
        ) from None
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"a shared ledger is a PostgreSQL database, not {url.get_backend_name()}: without a "
            "URL each run has a SQLite file of its own"
        )
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={"connect_timeout": WAIT_SECONDS, "application_name": "querist"},
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "a ledger on PostgreSQL needs a driver: pip install 'querist[postgres]'"
        ) from error

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO on")
            cursor.execute(f"SET lock_timeout TO '{WAIT_SECONDS}s'")
        connection.commit()

    _tell_the_store(engine)
    return engine


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": float(WAIT_SECONDS)})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        # SQLAlchemy begins and ends transactions, not Python's driver.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("writes", False):
            connection.exec_driver_sql("BEGIN")
            return
        synced = SYNCHRONOUS[options.get("durable", True)]
        connection.exec_driver_sql(f"PRAGMA synchronous={synced}")
        # A transaction that looks before it writes must keep others out from the start.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    _tell_the_store(engine)
    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Put the file into WAL mode: two processes may do so at once, and SQLite waits for neither."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _tell_the_store(engine: Engine) -> None:
    """The commits are on the store's list of what reached the disk, between the files."""

    @event.listens_for(engine, "commit")
    def _committing(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            connection.info["wrote"] = True

    # `commit` comes before the commit itself, this when the transaction is over.
    @event.listens_for(engine, "checkin")
    def _over(dbapi_connection: Any, record: Any) -> None:
        if record.info.pop("wrote", False):
            store().committed(_without_secrets(engine.url), dbapi_connection)


def _without_secrets(url: URL) -> str:
    """A URL in words; SQLAlchemy hides the password of the user, but not one among the options."""
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def storable(words: str, at_most: int | None = None) -> str:
    """Text as every database can hold it: without NUL and without halves of characters."""
    whole = words[:at_most].encode("utf-8", "backslashreplace").decode()
    return whole.replace("\0", "\\0")[:at_most]


class Database:
    """The rows of one run.

    Args:
        where: a SQLite file, or the URL of a PostgreSQL database.
        run_id: the run.
        shared: whether other runs are in it; those of a PostgreSQL database always may be.

    Attributes:
        served: whether it is a server's database, else it is a file.
    """

    def __init__(self, where: Path | str, run_id: str, *, shared: bool = False) -> None:
        self.run_id = run_id
        self.engine = connect(where)
        self.served = not isinstance(where, Path)
        self.shared = shared or self.served
        self.fence: int | None = None
        self._run: int | None = None

    @property
    def place(self) -> str:
        """Where the ledger is, in words, without a password."""
        url = self.engine.url
        return _without_secrets(url) if self.served else str(url.database)

    @property
    def run(self) -> int:
        """The number of the run in its tables.

        Raises:
            RunError: the database does not know it.
        """
        if self._run is None:
            query = select(func.max(t.runs.c.id))
            if self.shared:  # in a file of its own it is the only one, whatever its folder's name
                query = query.where(t.runs.c.run_id == self.run_id)
            with self.errors(), self.engine.connect() as connection:
                found = connection.scalar(query)
            if found is None:
                raise RunError(
                    f"{self.place} has no ledger of run {self.run_id}: bring back a copy, or start "
                    "a new run"
                )
            self._run = int(found)
        return self._run

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what a database says into errors of ours."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            reason = re.sub(r"\s+", " ", str(error.orig)).strip()
            damaged = (
                isinstance(error, DatabaseError) and type(error) is DatabaseError
            ) or "malformed" in reason
            if damaged and not self.served:
                raise RunError(
                    f"{self.place} is damaged, {reason}: bring back a copy, or start a new run"
                ) from error
            raise StorageError(
                f"{self.place} could not be used, {reason}: make room or give access, then "
                "resume; everything before is stored"
            ) from error

    @contextmanager
    def writing(self, *, checked: bool = True, durable: bool = True) -> Iterator[Connection]:
        """One transaction.

        Args:
            checked: whether this process must hold the lease; False only to take it.
            durable: whether it is on the disk when it returns. False for what is done again when a
                power cut takes it, which then takes all that was written after it as well.

        Raises:
            LeaseLostError: another process has taken the run over; nothing is written.
            StorageError: the database refused; nothing is written.
        """
        run = self.run if checked else None
        with self.errors(), self.engine.connect() as plain:
            connection = plain.execution_options(writes=True, durable=durable)
            with connection.begin():
                if not durable and self.engine.dialect.name == "postgresql":
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                if run is not None:
                    self._check_lease(connection, run)
                yield connection

    def _check_lease(self, connection: Connection, run: int) -> None:
        if self.engine.dialect.name == "postgresql":
            # Holds other writers of this run until the commit; SQLite has begun IMMEDIATE.
            connection.execute(select(t.runs.c.id).where(t.runs.c.id == run).with_for_update())
        newest = connection.scalar(select(func.max(t.leases.c.fence)).where(t.leases.c.run == run))
        if self.fence is None or newest != self.fence:
            holder = connection.scalar(
                select(t.leases.c.holder).where(t.leases.c.run == run, t.leases.c.fence == newest)
            )
            raise LeaseLostError(self.run_id, str(holder))

    def check_lease(self) -> None:
        """Refuse to go on when another process has taken the run over.

        Raises:
            LeaseLostError: it has.
        """
        with self.writing():
            pass

    def rows(self, query: Select[Any]) -> list[Any]:
        """What a query finds."""
        with self.errors(), self.engine.connect() as connection:
            return list(connection.execute(query))

    def value(self, query: Select[Any]) -> Any:
        """The first column of the first row; None where there is none."""
        found = self.rows(query)
        return found[0][0] if found else None

    def add(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows of this run."""
        if rows:
            connection.execute(insert(table), [{"run": self.run, **row} for row in rows])

    def add_new(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add rows of this run; those that are there already stay as they are."""
        if not rows:
            return
        own = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = own.insert(table).on_conflict_do_nothing()
        connection.execute(statement, [{"run": self.run, **row} for row in rows])


def copy_of(connection: Any) -> bytes:
    """The content of a SQLite database as a reader sees it now."""
    assert isinstance(connection, sqlite3.Connection)
    return connection.serialize()
