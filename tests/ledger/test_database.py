"""Transactions: durable, one writer, append-only, and errors in words."""

from __future__ import annotations

import math
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import torch
from sqlalchemy import text

from querist.errors import ConfigurationError, LeaseLostError, RunError, StorageError
from querist.ledger import Ledger, RequestState
from querist.ledger import tables as t
from querist.ledger.database import connect, storable
from querist.ledger.labels import Revision
from querist.ledger.models import PROMOTED, Answer, KnownItem, ModelLedger, Version
from querist.storage.store import Store, stored_by
from querist.values import Label, Phase, Verdict

from .conftest import ORACLE, Place, answer, keys, select, setting, start

REFUSED = "rows of the ledger are only ever added"


def fill(ledger: Ledger) -> None:
    """At least one row in every table."""
    start(ledger, [1, 2], test=[3])
    select(ledger, 0, [5, 6, 9], made={9: b"made"})
    ledger.record_asked(keys([5, 6], ledger.db.run_id), by_key=False)
    answer(ledger, 5)
    ledger.record_quarantine(
        "nonsense", "no label", source=ORACLE, iteration=0, key=keys([6], ledger.db.run_id)[0]
    )
    ledger.record_metrology(0, {"f1": 0.5}, 2, 1.0)
    ledger.record_verdict(0, Verdict(True, "first"))
    ledger.commit_iteration(0, 2, {}, "digest")
    fill_model(ledger)


def fill_model(ledger: Ledger) -> None:
    """At least one row in every table of a registered model, which the run now is as well."""
    model = object.__new__(ModelLedger)
    model.db = ledger.db
    number = model.begin_retraining(
        key="k", window="w", fingerprint="f", settings={}, answers={"i": Answer(1, {})}
    )
    model.record_split(number, [KnownItem("i", "d", "train")], {}, 1.0)
    model.record_version(Version(number, None, "f", {}, "digest"), {}, 1.0)
    verdict = Verdict(True, "first")
    model.record_comparison(challenger=number, champion=None, verdict=verdict, about={})
    model.record_promotion(PROMOTED, version=1, expected=None, champion=1, reason="first")


def rows(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    return {name: place.raw(f"SELECT * FROM {name}") for name in t.APPEND_ONLY}


def test_sqlite_commits_reach_the_disk(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.create()
    assert setting(ledger, "PRAGMA journal_mode") == "wal"
    assert setting(ledger, "PRAGMA synchronous") == 2  # FULL
    assert setting(ledger, "PRAGMA foreign_keys") == 1
    ledger.close()


def test_postgresql_commits_reach_the_disk(postgres: Any, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres.run(f"ALTER DATABASE {name} SET synchronous_commit TO off")
    ledger = Ledger(postgres_url, "run")
    ledger.create()
    assert setting(ledger, "SHOW synchronous_commit") == "on"
    assert setting(ledger, "SHOW fsync") == "on"
    ledger.close()


def test_no_table_lets_rows_be_changed(own_place: Place, own_ledger: Ledger) -> None:
    fill(own_ledger)
    before = rows(own_place)
    assert all(before.values()), "a table that is empty proves nothing"
    for table in t.APPEND_ONLY:
        column = t.metadata.tables[table].columns.keys()[0]
        statements = [f'UPDATE {table} SET "{column}" = "{column}"', f"DELETE FROM {table}"]
        if own_place.shared:
            statements.append(f"TRUNCATE {table} CASCADE")
        for statement in statements:
            with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match=REFUSED):
                own_place.raw(statement)
    assert rows(own_place) == before


def test_one_row_is_refused_as_well(own_place: Place, own_ledger: Ledger) -> None:
    fill(own_ledger)
    for statement in (
        "UPDATE labels SET value = '0' WHERE sample = 5",
        "DELETE FROM labels WHERE sample = 5",
    ):
        with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match=REFUSED):
            own_place.raw(statement)


# The lease ---------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Ledger], Any]] = {
    "set_fact": lambda x: x.set_fact("stop_reason", "another"),
    "record_start": lambda x: x.record_start({"test": torch.tensor([8])}, [Label(7, 0)], {}),
    "record_phase": lambda x: x.record_phase(3, Phase.TRAIN, 1.0, {}),
    "commit_iteration": lambda x: x.commit_iteration(3, 1, {}, None),
    "record_metrology": lambda x: x.record_metrology(3, {"f1": math.nan}, 1, 1.0),
    "record_verdict": lambda x: x.record_verdict(3, Verdict(True, "x")),
    "record_selection": lambda x: x.record_selection(
        3, [(50, 1.0, "margin")], keys=["k50"], made={50: b"x"}, started=1.0
    ),
    "record_asked": lambda x: x.record_asked(keys([9], x.db.run_id), by_key=True),
    "record_state": lambda x: x.record_state(keys([9], x.db.run_id), RequestState.FAILED, "x"),
    "record_label": lambda x: answer(x, 9),
    "record_label, known": lambda x: answer(x, 5),
    "record_label, another": lambda x: answer(x, 5, 0),
    "record_quarantine": lambda x: x.record_quarantine(
        1, "no label", source=ORACLE, iteration=0, key=None
    ),
    "decide_revision": lambda x: x.decide_revision(Revision(5, ORACLE, "", 1, 0), 0),
    "check_lease": lambda x: x.db.check_lease(),
}
READS = {
    "arrival_iteration", "being_asked", "champion", "check_schema", "close", "commit_rows",
    "create",
    "done_phases", "fact", "facts", "held_by", "holder", "label_rows", "labels_committed_to",
    "labels_shared", "labels_spent", "labels_spent_by_iteration", "labels_that_came", "made_count",
    "made_samples", "metrology", "metrology_labels",
    "next_iteration", "open", "open_requests", "phase_ended", "phase_outcome", "phase_rows",
    "quarantined",
    "requests", "revisions_for_review", "selected", "subset", "take_lease", "verdicts", "verify",
    "was_selected",
}  # fmt: skip
"""Methods that write no row, or take the lease themselves."""


def test_every_method_that_writes_is_tried() -> None:
    public = {n for n in dir(Ledger) if not n.startswith("_") and callable(getattr(Ledger, n))}
    tried = {name.partition(",")[0] for name in WRITES} - {"check_lease"}
    assert public - READS - {"copy_labels"} == tried


def test_a_stale_owner_writes_nothing(
    place: Place, ledger: Ledger, opened: Callable[[Place], Ledger]
) -> None:
    fill(ledger)
    newer = opened(place)
    newer.take_lease(by_force=True)
    before = rows(place)
    written = []
    for name, write in WRITES.items():
        with suppress(LeaseLostError):
            write(ledger)
            written.append(name)
    assert written == []
    assert rows(place) == before
    with pytest.raises(LeaseLostError, match=f"run {place.run_id} was taken over by process"):
        answer(ledger, 9)


def test_a_stale_owner_takes_over_no_labels(
    postgres_url: str, opened: Callable[[Place], Ledger]
) -> None:
    first, other = (opened(Place(postgres_url, name)) for name in ("mine", "other"))
    for ledger in (first, other):
        ledger.create()
        select(ledger, 0, [5], keys=keys([5]))
    first.record_label(Label(5, 1), source=ORACLE, iteration=0, key=keys([5])[0])
    opened(Place(postgres_url, "other")).take_lease(by_force=True)
    with pytest.raises(LeaseLostError):
        other.copy_labels(keys([5]), iteration=0, accept=bool)
    assert other.label_rows() == []


def test_who_never_took_the_lease_writes_nothing(
    place: Place, ledger: Ledger, opened: Callable[[Place], Ledger]
) -> None:
    fill(ledger)
    reader = opened(place)
    with pytest.raises(LeaseLostError):
        reader.set_fact("x", "1")
    assert reader.fact("x") is None
    assert [row[0] for row in reader.label_rows()] == [1, 2, 5]


def test_a_stale_owner_closes_without_a_word(
    place: Place, ledger: Ledger, opened: Callable[[Place], Ledger]
) -> None:
    opened(place).take_lease(by_force=True)
    ledger.close()
    ledger.close()


def test_what_a_transaction_began_is_undone(place: Place, ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.db.writing() as connection:
            ledger.db.add(connection, t.facts, [{"key": "x", "value": "1"}])
            raise ZeroDivisionError

    fill(ledger)
    before = rows(place)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows(place) == before
    ledger.set_fact("x", "2")
    assert ledger.fact("x") == "2"


def test_threads_of_one_process_may_write(ledger: Ledger) -> None:
    def work(thread: int) -> None:
        for i in range(10):
            answer(ledger, 100 * thread + i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.label_rows()) == 40


def test_commits_are_told_to_the_store_and_reads_are_not(place: Place, ledger: Ledger) -> None:
    class Listening(Store):
        heard: list[str] = []  # noqa: RUF012

        def committed(self, ledger: str, connection: Any) -> None:
            self.heard.append(ledger)

    with stored_by(Listening()):
        ledger.set_fact("x", "1")
        ledger.fact("x")
        with pytest.raises(ZeroDivisionError), ledger.db.writing():
            raise ZeroDivisionError
    assert len(Listening.heard) == 1
    assert "***" in Listening.heard[0] or not place.shared


# Errors ------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_in_words_and_loses_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.create()
    answer(ledger, 0)
    ledger.db.engine.dispose()  # the limit holds for one connection: there must be one only
    with ledger.db.engine.begin() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(StorageError, match=r"database or disk is full: make room .* then resume"):
        ledger.record_metrology(0, {f"metric{i}": 1.0 for i in range(10_000)}, 1, 1.0)
    assert ledger.label_rows() == [(0, "", 1)]
    assert ledger.metrology() == {}
    assert ledger.done_phases(0) == set()
    ledger.close()


def test_a_file_that_somebody_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.ledger.database.WAIT_SECONDS", 0.1)
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.create()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="database is locked"):
        answer(ledger, 0)
    other.execute("ROLLBACK")
    other.close()
    answer(ledger, 0)
    assert ledger.label_rows() == [(0, "", 1)]
    ledger.close()


def test_a_row_that_somebody_holds(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setattr("querist.ledger.database.WAIT_SECONDS", 1)
    ledger, place = Ledger(postgres_url, "mine"), Place(postgres_url, "mine")
    ledger.create()
    with ledger.db.engine.begin() as connection:
        connection.execute(text("SELECT * FROM runs FOR UPDATE"))
        with pytest.raises(StorageError, match="lock timeout"):
            answer(ledger, 0)
    answer(ledger, 0)
    assert place.raw("SELECT count(*) FROM labels") == [(1,)]
    ledger.close()


def test_a_damaged_file_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(RunError, match="is damaged, file is not a database"):
        Ledger(path).check_schema()


def test_a_shared_database_without_the_run(common_url: str, opened: Any) -> None:
    opened(Place(common_url, "somebody")).create()
    with pytest.raises(RunError, match="has no ledger of run nobody: bring back a copy"):
        opened(Place(common_url, "nobody")).open()


def test_a_file_goes_with_its_folder_whatever_its_name(tmp_path: Path, opened: Any) -> None:
    ledger = opened(Place(tmp_path / "ledger.db", "before"))
    ledger.create()
    answer(ledger, 5)
    ledger.close()
    renamed = opened(Place(tmp_path / "ledger.db", "after"))
    renamed.open()
    assert renamed.label_rows() == [(5, "", 1)]


def test_an_empty_database_is_no_ledger(own_place: Place, opened: Any) -> None:
    with pytest.raises(RunError, match="is no ledger: bring back a copy, or start a new run"):
        opened(own_place).open()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@127.0.0.1:{port}/db",
        "postgresql://127.0.0.1:{port}/db?user=me&password=hunter2",
    ],
)
def test_a_server_that_is_down(url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ledger = Ledger(url.format(port=port), "run")
    with pytest.raises(StorageError, match=r"could not be used, .*refused") as found:
        ledger.create()
    assert "hunter2" not in f"{found.value} {found.value.__cause__} {ledger.db.place}"


def test_a_wrong_password_is_not_said(postgres: Any) -> None:
    url = postgres.url("postgres").replace(postgres.password, "hunter2")
    with pytest.raises(StorageError, match="password authentication failed") as found:
        Ledger(url, "run").create()
    assert "hunter2" not in f"{found.value} {found.value.__cause__}"


@pytest.mark.parametrize("url", ["hunter2", "postgresql://me:hunter2@host:hunter2/db", ""])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"has the form postgresql\+psycopg://") as found:
        connect(url)
    assert "hunter2" not in str(found.value)
    assert found.value.__cause__ is None


def test_another_kind_of_database() -> None:
    with pytest.raises(ConfigurationError, match="a PostgreSQL database, not mysql") as found:
        connect("mysql://me:hunter2@host/db")
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("words", "stored"),
    [("plain ü", "plain ü"), ("a\0b", "a\\0b"), ("\ud800", "\\ud800"), ("x" * 20, "x" * 10)],
)
def test_text_that_every_database_holds(words: str, stored: str) -> None:
    assert storable(words, 10) == stored


def test_only_what_can_be_done_again_may_be_lost_to_a_power_cut(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.create()
    synced = []

    class Asking(Store):
        def committed(self, ledger: str, connection: Any) -> None:
            synced.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    with stored_by(Asking()):
        for phase in (Phase.TRAIN, Phase.LABEL):
            ledger.record_phase(0, phase, 1.0, {})
        ledger.record_metrology(0, {"f1": 0.5}, 2, 1.0)
        assert synced == [1, 1, 1]  # NORMAL
        synced.clear()
        ledger.record_selection(0, [(7, 0.5, "margin")], keys=["k"], made={}, started=1.0)
        ledger.record_label(Label(7, 1), source=ORACLE, iteration=0, key="k")
        ledger.record_verdict(0, Verdict(True, "first"))
        ledger.commit_iteration(0, 2, {}, "digest")
        assert synced == [2, 2, 2, 2]  # FULL
    ledger.close()


def test_postgresql_waits_for_what_cannot_be_done_again(postgres_url: str) -> None:
    ledger = Ledger(postgres_url, "run")
    ledger.create()
    with ledger.db.writing(durable=False) as c:
        assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "off"
    with ledger.db.writing() as c:
        assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    ledger.close()
