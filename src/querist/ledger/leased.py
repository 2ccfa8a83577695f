"""Who may write the rows of a run or of a registered model, and what holds for all of it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from querist.errors import RunExistsError, RunLockedError
from querist.ledger import schema
from querist.ledger import tables as t
from querist.ledger.database import Database, storable

MADE = "made"
"""The fact that says that a run's folder is there."""

_PATIENCE_SECONDS = 5.0
_HOLDERS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = (hashtextextended(:run, 0) >> 32) & 4294967295 "
    "AND objid::bigint = hashtextextended(:run, 0) & 4294967295"
)
"""PostgreSQL's view of who holds a run's advisory lock."""


class LeasedLedger:
    """Rows in a database that anybody may read; who writes holds the lease.

    Args:
        where: a SQLite file, or the URL of a PostgreSQL database that many runs share.
        run_id: the run; by default the name of the file's folder.
        shared: whether a SQLite file has several runs: the learners of a parallel run.
    """

    def __init__(
        self, where: Path | str, run_id: str | None = None, *, shared: bool = False
    ) -> None:
        if run_id is None:
            run_id = Path(where).absolute().parent.name
        self.db = Database(where, run_id, shared=shared)
        self._liveness: Connection | None = None

    def create(self) -> None:
        """Make the tables, enter the run, and take its lease.

        Raises:
            RunExistsError: a shared ledger has a run with this id.
            RunLockedError: another process is just making it.
        """
        schema.create_tables(self.db)
        schema.check_schema(self.db)
        if self.db.served:
            self._hold_while_alive(by_force=False)
        with self.db.writing(checked=False) as c:
            newest = select(func.max(t.runs.c.id)).where(t.runs.c.run_id == self.db.run_id)
            attempts = select(func.count()).where(t.runs.c.run_id == self.db.run_id)
            if self._has_begun(c, c.scalar(newest)):
                raise RunExistsError(
                    f"{self.db.place} has a run {self.db.run_id} already: choose another id"
                )
            row = {"run_id": self.db.run_id, "attempt": c.scalar(attempts), "created": time.time()}
            c.execute(insert(t.runs).values(**row))
        self.take_lease()

    def _has_begun(self, c: Connection, run: int | None) -> bool:
        """Whether anything was done in a run; one that was cut off while it was made is not one."""
        made = select(t.facts.c.run).where(t.facts.c.run == run, t.facts.c.key == MADE)
        done = (
            select(table.c.run).where(table.c.run == run)
            for table in (t.phases, t.requests, t.retrainings)
        )
        return run is not None and any(c.execute(q).first() is not None for q in (made, *done))

    def open(self) -> str | None:
        """Bring the tables up to date, and take the lease.

        Returns the version that the ledger had, if it was an older one.

        Raises:
            RunLockedError: another process works on the run.
            RunError: it is no ledger, or a newer version of Querist made it.
        """
        older = schema.bring_up_to_date(self.db)
        self.take_lease()
        return older

    def check_schema(self) -> None:
        """Refuse a ledger that another version of Querist wrote.

        Raises:
            RunError: its schema is not ours.
        """
        schema.check_schema(self.db)

    def close(self) -> None:
        """Let go of the lease and of the database."""
        if self._liveness is not None:
            # The server notices a closed connection a moment later: whoever comes next would wait.
            with suppress(SQLAlchemyError):
                self._liveness.execute(text("SELECT pg_advisory_unlock_all()"))
            self._liveness.close()
            self._liveness = None
        self.db.close()

    # The lease ---------------------------------------------------------------------------------

    def take_lease(self, *, by_force: bool = False) -> None:
        """Become the one who writes; whoever was it before is fenced off.

        A lease has no end by the clock: it is held until the next one is taken. In a file that is
        up to the lock of the run's folder; in a server's database up to a lock that the holder's
        connection keeps for as long as its process lives.

        Args:
            by_force: also from a process that lives and holds it.

        Raises:
            RunLockedError: another process holds the lock.
        """
        if self.db.served and self._liveness is None:
            self._hold_while_alive(by_force)
        with self.db.writing(checked=False) as c:
            query = select(func.max(t.leases.c.fence)).where(t.leases.c.run == self.db.run)
            fence = 1 + (c.scalar(query) or 0)
            holder = f"process {os.getpid()} on host {socket.gethostname()}"
            row = {"fence": fence, "holder": holder, "acquired": time.time()}
            self.db.add(c, t.leases, [row])
        self.db.fence = fence

    def _hold_while_alive(self, by_force: bool) -> None:
        with self.db.errors():
            connection = self.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            got = self._try_lock(connection)
            if by_force and not got:
                connection.execute(text(f"SELECT pg_terminate_backend(pid) {_HOLDERS}"), self._name)
                until = time.monotonic() + _PATIENCE_SECONDS
                while not got and time.monotonic() < until:
                    time.sleep(0.05)
                    got = self._try_lock(connection)
        if not got:
            connection.close()
            raise RunLockedError(self.db.run_id, self.holder() or "another process")
        self._liveness = connection

    def _try_lock(self, connection: Connection) -> bool:
        query = text("SELECT pg_try_advisory_lock(hashtextextended(:run, 0))")
        return bool(connection.scalar(query, self._name))

    @property
    def _name(self) -> dict[str, str]:
        return {"run": f"querist {self.db.run_id}"}

    def held_by(self) -> str | None:
        """Who works on a run of a server's database, in words; None when nobody does.

        For a ledger in a file the lock of the run's folder says it.
        """
        if not self.db.served:
            return None
        with self.db.errors(), self.db.engine.connect() as connection:
            held = connection.execute(text(f"SELECT pid {_HOLDERS}"), self._name).first()
        return self.holder() if held is not None else None

    def holder(self) -> str | None:
        """Who took the lease last, in words."""
        query = select(t.leases.c.holder).where(t.leases.c.run == self.db.run)
        found = self.db.value(query.order_by(t.leases.c.fence.desc()).limit(1))
        return None if found is None else str(found)

    # What holds for the whole run --------------------------------------------------------------

    def set_fact(self, key: str, value: str) -> None:
        """Write down something that holds for the whole run; the newest value counts."""
        value = storable(value)
        if self.fact(key) != value:
            with self.db.writing() as c:
                self.db.add(c, t.facts, [{"key": key, "value": value}])

    def fact(self, key: str) -> str | None:
        """What was written down under `key`."""
        query = select(t.facts.c.value).where(t.facts.c.run == self.db.run, t.facts.c.key == key)
        found = self.db.value(query.order_by(t.facts.c.id.desc()).limit(1))
        return None if found is None else str(found)

    def facts(self) -> dict[str, str]:
        """Everything that was written down, the newest value of each."""
        query = select(t.facts).where(t.facts.c.run == self.db.run).order_by(t.facts.c.id)
        return {row.key: row.value for row in self.db.rows(query)}
