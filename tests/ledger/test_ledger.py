"""Making and opening a ledger, its lease, and what holds for the whole run."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from querist.errors import RunExistsError, RunLockedError
from querist.ledger import INITIAL, Ledger

from .conftest import Place, answer, select, start

Opened = Callable[[Place], Ledger]


def test_facts(ledger: Ledger) -> None:
    assert ledger.fact("x") is None
    ledger.set_fact("x", "1")
    ledger.set_fact("x", "2")
    ledger.set_fact("y", "a\0b\ud800")
    assert ledger.fact("x") == "2"
    assert ledger.facts() == {"x": "2", "y": "a\\0b\\ud800"}


def test_a_fact_that_is_known_is_not_written_again(place: Place, ledger: Ledger) -> None:
    for value in ("1", "1", "2", "1", "a\0", "a\0"):
        ledger.set_fact("x", value)
    written = place.raw(f"SELECT value FROM facts WHERE run = {ledger.db.run} ORDER BY id")
    assert [value for (value,) in written] == ["1", "2", "1", "a\\0"]


def test_subsets_keep_their_order(ledger: Ledger) -> None:
    start(ledger, [5, 2, 9], test=[7, 1])
    assert ledger.subset(INITIAL).tolist() == [5, 2, 9]
    assert ledger.subset("test").tolist() == [7, 1]
    assert ledger.subset("nothing").tolist() == []
    assert ledger.fact("data_fingerprint") == "f"


def test_made_samples(ledger: Ledger) -> None:
    select(ledger, 0, [10, 11], made={11: b"two\0", 10: b"one"})
    assert ledger.made_samples() == [b"one", b"two\0"]
    assert ledger.made_count() == 2


def test_a_ledger_is_found_again(place: Place, ledger: Ledger, opened: Opened) -> None:
    start(ledger, [1])
    answer(ledger, 5)
    ledger.close()
    again = opened(place)
    assert again.open() is None
    assert again.label_rows() == [(1, "", 0), (5, "", 1)]


def test_the_default_run_is_named_by_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ledger = Ledger(tmp_path / "mine" / "ledger.db")
    ledger.create()
    assert ledger.db.run_id == "mine"
    ledger.close()


def test_a_run_that_has_begun(place: Place, ledger: Ledger, opened: Opened) -> None:
    select(ledger, 0, [5])
    if place.shared:
        with pytest.raises(RunLockedError):
            opened(place).create()
    ledger.close()
    with pytest.raises(RunExistsError, match=f"has a run {place.run_id} already: choose another"):
        opened(place).create()


def test_a_run_that_was_cut_off_while_it_was_made(
    place: Place, ledger: Ledger, opened: Opened
) -> None:
    start(ledger, [1, 2], test=[3])
    ledger.close()
    again = opened(place)
    again.create()
    assert again.subset(INITIAL).tolist() == []
    assert again.label_rows() == []
    start(again, [4], test=[5])
    again.close()
    assert opened(place).subset("test").tolist() == [5]


def test_runs_of_one_database_see_nothing_of_each_other(
    own_place: Place, own_ledger: Ledger, opened: Opened
) -> None:
    other = opened(Place(own_place.where, "other"))
    other.create()
    for ledger, sample in ((own_ledger, 1), (other, 2)):
        start(ledger, [sample], test=[3])
        select(ledger, 0, [sample + 10], made={sample + 10: b"%d" % sample})
        answer(ledger, sample + 10)
        ledger.set_fact("x", ledger.db.run_id)
        ledger.record_metrology(0, {"f1": float(sample)}, 1, 1.0)
        ledger.commit_iteration(0, 1, {}, None)
    for ledger, sample in ((own_ledger, 1), (other, 2)):
        assert ledger.subset(INITIAL).tolist() == [sample]
        assert ledger.selected().tolist() == [sample + 10]
        assert [row[0] for row in ledger.label_rows()] == [sample, sample + 10]
        assert ledger.fact("x") == ledger.db.run_id
        assert ledger.metrology() == {0: {"f1": float(sample)}}
        assert ledger.made_samples() == [b"%d" % sample]
        assert ledger.labels_committed_to() == 2
        assert len(ledger.commit_rows()) == ledger.next_iteration() == 1
        ledger.verify()


# The lease ---------------------------------------------------------------------------------------


def test_fencing_numbers_go_up(place: Place, ledger: Ledger, opened: Opened) -> None:
    assert ledger.db.fence == 1
    ledger.close()
    for fence in (2, 3):
        again = opened(place)
        again.open()
        assert again.db.fence == fence
        again.close()


def test_the_holder_has_a_name(place: Place, ledger: Ledger, opened: Opened) -> None:
    me = f"process {os.getpid()} on host {socket.gethostname()}"
    reader = opened(place)
    assert reader.holder() == me
    assert reader.held_by() == (me if place.shared else None)
    ledger.close()
    assert reader.held_by() is None


def test_a_shared_run_has_one_owner(
    common_url: str, opened: Opened, request: pytest.FixtureRequest
) -> None:
    place = Place(common_url, request.node.name)
    first, second = opened(place), opened(place)
    first.create()
    with pytest.raises(RunLockedError, match=f"worked on by process {os.getpid()} on host"):
        second.open()
    answer(first, 1)
    first.close()
    second.open()
    answer(second, 2)
    assert len(second.label_rows()) == 2


def own(where: Path | str, run_id: str, ready: Connection) -> None:
    """Make a run, and hold it."""
    Ledger(where, run_id).create()
    ready.send("mine")
    signal.pause()


def test_an_owner_that_is_killed_holds_nothing(
    common_url: str, opened: Opened, own_process: Any
) -> None:
    place = Place(common_url, "killed owner")
    ready, theirs = own_process.Pipe()
    process = own_process.Process(target=own, args=(place.where, place.run_id, theirs))
    process.start()
    assert ready.recv() == "mine"
    with pytest.raises(RunLockedError, match=f"process {process.pid} "):
        opened(place).open()
    process.kill()
    process.join()
    again = opened(place)
    until = time.monotonic() + 20
    while again.held_by() is not None:  # the server notices in a moment
        assert time.monotonic() < until
        time.sleep(0.02)
    again.open()
    assert again.db.fence == 2


def make(where: Path | str, run_id: str, together: Any) -> None:
    """Make a ledger at the same time as another process."""
    together.wait()
    ledger = Ledger(where, run_id)
    ledger.create()
    ledger.set_fact("x", run_id)
    assert ledger.facts() == {"x": run_id}


def test_of_two_that_make_the_tables_each_gets_its_run(own_place: Place, own_process: Any) -> None:
    together = own_process.Barrier(2)
    both = [
        own_process.Process(target=make, args=(own_place.where, name, together))
        for name in ("a", "b")
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert sorted(own_place.raw("SELECT run_id FROM runs")) == [("a",), ("b",)]
