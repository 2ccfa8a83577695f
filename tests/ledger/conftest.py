"""One contract for both databases: what a test writes, and where."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import torch
from sqlalchemy import make_url, text

from querist.ledger import INITIAL, INITIAL_LABELS, Ledger, Source
from querist.values import Label
from tests.shared.killed import own_process
from tests.shared.postgres import postgres, postgres_url

__all__ = ["own_process", "postgres", "postgres_url"]

ORACLE = Source("oracle", "1")
_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """A database that holds ledgers.

    Attributes:
        where: a SQLite file, or the URL of a PostgreSQL database.
        run_id: a run that no other test has.
    """

    where: Path | str
    run_id: str

    @property
    def shared(self) -> bool:
        return isinstance(self.where, str)

    def raw(self, statement: str) -> list[tuple[Any, ...]]:
        """Send a statement past Querist."""
        if isinstance(self.where, Path):
            with sqlite3.connect(self.where) as connection:
                return connection.execute(statement).fetchall()
        url = make_url(self.where).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False)) as postgres:
            cursor = postgres.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def drop_triggers(self) -> None:
        """What somebody does who wants to change a ledger unseen."""
        if self.shared:
            found = self.raw(
                "SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal"
            )
            for table, trigger in found:
                self.raw(f"DROP TRIGGER {trigger} ON {table}")
        else:
            for (trigger,) in self.raw("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
                self.raw(f"DROP TRIGGER {trigger}")


@pytest.fixture(scope="session")
def common_url(postgres: Any) -> Iterator[str]:
    """A PostgreSQL database for all tests that keep to their own run."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of either kind, and a run in it."""
    run_id = f"run{next(_numbers)}"
    if request.param == "postgresql":
        return Place(request.getfixturevalue("common_url"), run_id)
    folder = tmp_path / run_id
    folder.mkdir()
    return Place(folder / "ledger.db", run_id)


@pytest.fixture(params=["sqlite", "postgresql"])
def own_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database that no other test uses, for tests that do violence to it."""
    if request.param == "postgresql":
        return Place(request.getfixturevalue("postgres_url"), "mine")
    (tmp_path / "mine").mkdir()
    return Place(tmp_path / "mine" / "ledger.db", "mine")


@pytest.fixture
def opened() -> Iterator[Callable[[Place], Ledger]]:
    """Ledgers that are closed after the test."""
    made: list[Ledger] = []

    def at(place: Place) -> Ledger:
        made.append(Ledger(place.where, place.run_id))
        return made[-1]

    yield at
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(place: Place, opened: Callable[[Place], Ledger]) -> Ledger:
    """A new ledger whose lease is held."""
    made = opened(place)
    made.create()
    return made


@pytest.fixture
def own_ledger(own_place: Place, opened: Callable[[Place], Ledger]) -> Ledger:
    """A new ledger in a database of its own."""
    made = opened(own_place)
    made.create()
    return made


def keys(samples: Sequence[int], run_id: str = "") -> list[str]:
    """Request keys; in a shared database each test has its own."""
    return [f"key {run_id} {sample}" for sample in samples]


def select(ledger: Ledger, iteration: int, samples: list[int], **more: Any) -> None:
    """Record a selection."""
    asked = {"keys": keys(samples, ledger.db.run_id), "made": {}, "started": 1.0} | more
    chosen = [(s, 1.0 / (i + 1), "margin") for i, s in enumerate(samples)]
    ledger.record_selection(iteration, chosen, **asked)


def start(ledger: Ledger, samples: list[int], **subsets: list[int]) -> None:
    """Record the split and the initial labels."""
    wanted = {INITIAL: samples, **subsets}
    ledger.record_start(
        {name: torch.tensor(x, dtype=torch.int64) for name, x in wanted.items()},
        [Label(s, 0, cost=0.0) for s in samples],
        {"data_fingerprint": "f", INITIAL_LABELS: str(len(samples))},
    )


def answer(
    ledger: Ledger,
    sample: int,
    value: Any = 1,
    *,
    iteration: int = 0,
    keyed: bool = True,
    **of: Any,
) -> Any:
    """Record a label of the oracle's."""
    key = keys([sample], ledger.db.run_id)[0] if keyed else None
    label = Label(sample, value, **of)
    return ledger.record_label(label, source=ORACLE, iteration=iteration, key=key)


def setting(ledger: Ledger, statement: str) -> Any:
    """What a connection of Querist's says of itself."""
    with ledger.db.engine.connect() as connection:
        return connection.execute(text(statement)).scalar()
